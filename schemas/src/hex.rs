//! Bytes as hexadecimal digits, two each.
//!
//! # Guarantees
//! - What is written is read back; digits are read in upper and lower case.

/// Bytes as digits, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that digits stand for; `None` where they are no pairs of digits.
pub fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|own| u8::try_from(own).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(value(high)? << 4 | value(low)?),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(hex(&[0x00, 0xff, 0x0a]), "00ff0a");
        assert_eq!(from_hex("00fF0A"), Some(vec![0x00, 0xff, 0x0a]));
        for wrong in ["0", "0g", "+f", "\u{e4}"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
