//! The memory of a live row, held to its bound. Alone in its program, because it counts all that the program holds.

#![allow(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one passes every call on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use benchmarks::live_rows::bytes_a_row;

/// Bytes that are allocated now. What the kernel calls resident depends on when pages are given back, so it differs
/// from run to run; this is the same in every one.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, and a count of what it has given out.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: each call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(taken(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(taken(layout.size()), Ordering::Relaxed);
        // SAFETY: `at` came from `alloc` with this layout, which took it from there.
        unsafe { System.dealloc(at, layout) }
    }
}

/// What an allocator of size classes, four to each doubling as mimalloc has them, takes for so many bytes.
fn taken(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 8).max(8);
    bytes.next_multiple_of(step)
}

#[test]
fn a_live_row_of_orders_takes_200_bytes_at_most() {
    let held = || Ok(HELD.load(Ordering::Relaxed) as f64);
    let bytes = bytes_a_row(100_000, 600_000, held).unwrap();
    println!("{bytes:.1} bytes a row");
    assert!((100.0..=200.0).contains(&bytes), "{bytes:.0} bytes a row");
}
