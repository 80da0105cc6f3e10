//! E-mail, by SMTP.
//!
//! # Guarantees
//! - What belongs to one alert is one thread: its first mail has the alert's id for its message id, and the others
//!   answer that.
//! - A mailbox that will never take it is an error for good; all else is tried again.

use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use reqwest::Client;
use schemas::Micros;

use super::{Route, Sending};
use crate::error::DeliveryError;
use crate::notice::Notice;
use crate::settings::RouteSettings;

struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

pub(super) fn make(settings: &RouteSettings, _client: &Client) -> Result<Box<dyn Route>, String> {
    let url = settings.one_url(None)?;
    let from = settings.from.as_deref().ok_or("needs `from`, the address that sends")?;
    if settings.to.is_empty() {
        return Err("needs `to`, a list of addresses".to_owned());
    }
    let mailbox = |text: &str| {
        text.parse::<Mailbox>().map_err(|e| format!("`{text}` is no address of e-mail: {e}"))
    };
    let to = settings.to.iter().map(|text| mailbox(text)).collect::<Result<_, _>>()?;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(&url);
    let mut transport = transport.map_err(|_| {
        "`url` is smtp://HOST:PORT, with ?tls=required for STARTTLS, or smtps://HOST; a user stands before HOST, \
         a password in `secret_file`"
            .to_owned()
    })?;
    if let Some(secret) = settings.secret()? {
        let url = reqwest::Url::parse(&url).map_err(|e| format!("`url`: {e}"))?;
        transport = transport.credentials(Credentials::new(url.username().to_owned(), secret.0));
    }
    Ok(Box::new(Email { transport: transport.build(), from: mailbox(from)?, to }))
}

impl Email {
    fn message(&self, notice: &Notice) -> Result<Message, String> {
        let first = format!("<{}@weir>", notice.alert);
        let mut message = Message::builder().from(self.from.clone()).subject(subject(notice));
        for to in &self.to {
            message = message.to(to.clone());
        }
        message = match notice.kind {
            crate::Kind::Opened | crate::Kind::Digest => message.message_id(Some(first)),
            _ => message
                .message_id(Some(format!("<{}@weir>", notice.id)))
                .in_reply_to(first.clone())
                .references(first),
        };
        message.header(ContentType::TEXT_PLAIN).body(body(notice)).map_err(|e| e.to_string())
    }

    async fn send(&self, notice: &Notice) -> Result<(), DeliveryError> {
        let message = self.message(notice).map_err(|why| DeliveryError::Refused { why })?;
        let sent = self.transport.send(message).await.map(drop);
        sent.map_err(|error| match error.is_permanent() {
            true => DeliveryError::Refused { why: schemas::chain(&error) },
            false => DeliveryError::later(schemas::chain(&error)),
        })
    }
}

impl Route for Email {
    fn deliver<'a>(&'a self, notice: &'a Notice, _now: Micros) -> Sending<'a> {
        Box::pin(self.send(notice))
    }
}

/// One line: names come from the outside.
fn subject(notice: &Notice) -> String {
    notice.title().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn body(notice: &Notice) -> String {
    let mut text = format!("{}\n\n", notice.summary());
    if notice.kind == crate::Kind::Digest {
        text.push_str(notice.annotations.get("description").map_or("", String::as_str));
        text.push('\n');
        return text;
    }
    for (name, said) in notice.annotations.iter().filter(|(name, _)| *name != "summary") {
        text.push_str(&format!("{name}: {said}\n"));
    }
    if let Some(link) = &notice.link {
        text.push_str(&format!("\n{link}\n"));
    }
    text
}
