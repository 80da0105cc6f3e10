//! The parts of librdkafka that its Rust binding does not wrap: a partition's queue read in bulk
//! (with the offset at which a partition ended), topic ids, and cached end offsets.
//!
//! # Guarantees
//! - Every pointer taken from librdkafka is given back exactly once, before its client is destroyed
//!   (each wrapper keeps the client alive).
//! - Borrowed keys and values never outlive the message they lie in.
#![allow(unsafe_code, reason = "calls into librdkafka that rdkafka-rs does not wrap")]

use std::ffi::{CStr, CString, c_int, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::ANSWER;
use super::client::Context;

/// Messages taken from a queue in one go.
const BATCH: usize = 512;

/// Wakes the polling thread when one of its queues is no longer empty.
#[derive(Debug, Default)]
pub(super) struct Wake {
    raised: Mutex<bool>,
    changed: Condvar,
}

/// One thing that a partition's queue held.
pub(super) enum Item<'a> {
    /// A record.
    Record(Fetched<'a>),
    /// The partition has nothing at this offset or later, for now.
    End(i64),
    /// librdkafka reports an error at this offset.
    Error(RDKafkaErrorCode, i64, String),
}

/// A record that lies in librdkafka's memory.
pub(super) struct Fetched<'a> {
    pub(super) offset: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    message: &'a sys::rd_kafka_message_t,
}

/// The queue of one partition, or one for answers; wakes `Wake` when it is no longer empty.
pub(super) struct Queue {
    raw: NonNull<sys::rd_kafka_queue_t>,
    buffer: Vec<*mut sys::rd_kafka_message_t>,
    // Both are used through raw pointers by librdkafka: they must outlive `raw`.
    _wake: Arc<Wake>,
    _client: Arc<BaseConsumer<Context>>,
}

/// What a broker says about one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) topic: String,
    /// Topic id and partitions, or why not.
    pub(super) found: Result<(Option<String>, Vec<i32>), RDKafkaErrorCode>,
}

impl Wake {
    fn raise(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits until something was queued since the last wait, or until `deadline`.
    pub(super) fn wait(&self, deadline: Instant) {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        while !*raised {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            raised =
                self.changed.wait_timeout(raised, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *raised = false;
    }
}

extern "C" fn on_nonempty(_: *mut sys::rd_kafka_t, wake: *mut c_void) {
    // SAFETY: `wake` is the address inside the `Arc<Wake>` that the `Queue` holds; the queue disables
    // this callback, under librdkafka's queue lock, before it lets go of the `Arc`.
    unsafe { &*wake.cast::<Wake>() }.raise();
}

impl Queue {
    /// The queue of one partition, taken out of the consumer's common queue.
    pub(super) fn of_partition(
        client: &Arc<BaseConsumer<Context>>,
        topic: &str,
        partition: i32,
        wake: &Arc<Wake>,
    ) -> Option<Queue> {
        let topic = CString::new(topic).ok()?;
        let native = client.client().native_ptr();
        // SAFETY: the client is alive and the topic is a C string; the call returns a reference of
        // its own, or null.
        let raw = unsafe { sys::rd_kafka_queue_get_partition(native, topic.as_ptr(), partition) };
        let raw = NonNull::new(raw)?;
        // SAFETY: `raw` is a live queue; null ends its forwarding to the consumer's queue.
        unsafe { sys::rd_kafka_queue_forward(raw.as_ptr(), ptr::null_mut()) };
        Some(Queue::watched(raw, client, wake))
    }

    /// A queue for answers.
    pub(super) fn for_answers(
        client: &Arc<BaseConsumer<Context>>,
        wake: &Arc<Wake>,
    ) -> Option<Queue> {
        // SAFETY: the client is alive; the call returns a new queue.
        let raw = unsafe { sys::rd_kafka_queue_new(client.client().native_ptr()) };
        Some(Queue::watched(NonNull::new(raw)?, client, wake))
    }

    fn watched(
        raw: NonNull<sys::rd_kafka_queue_t>,
        client: &Arc<BaseConsumer<Context>>,
        wake: &Arc<Wake>,
    ) -> Queue {
        let opaque = Arc::as_ptr(wake).cast_mut().cast::<c_void>();
        // SAFETY: the queue is alive, and `opaque` stays valid until `drop` disables the callback.
        unsafe { sys::rd_kafka_queue_cb_event_enable(raw.as_ptr(), Some(on_nonempty), opaque) };
        Queue { raw, buffer: Vec::new(), _wake: Arc::clone(wake), _client: Arc::clone(client) }
    }

    /// Takes at most `limit` items (and at most 512) without waiting. Returns how many.
    pub(super) fn take(&mut self, limit: usize, mut each: impl FnMut(Item<'_>)) -> usize {
        let room = limit.min(BATCH);
        self.buffer.resize(room, ptr::null_mut());
        // SAFETY: the queue is alive and the buffer has room for `room` pointers.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(self.raw.as_ptr(), 0, self.buffer.as_mut_ptr(), room)
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        for message in self.buffer.iter().take(taken).copied() {
            // SAFETY: librdkafka gave us this message; it is ours until it is destroyed below, and
            // the item that borrows from it ends with the call of `each`.
            each(unsafe { item(&*message) });
            // SAFETY: ours, and destroyed exactly once.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
        taken
    }

    /// The answer to [`describe`], if it is there.
    pub(super) fn described(&mut self) -> Option<Result<Vec<Described>, String>> {
        // SAFETY: the queue is alive; the event, if any, is ours and destroyed below.
        let event = unsafe { sys::rd_kafka_queue_poll(self.raw.as_ptr(), 0) };
        if event.is_null() {
            return None;
        }
        // SAFETY: a live event; everything borrowed from it is copied before it is destroyed.
        let answer = unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(event);
            let error = sys::rd_kafka_event_error(event);
            let answer = if result.is_null() || error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                let text = sys::rd_kafka_event_error_string(event);
                Err(CStr::from_ptr(text).to_string_lossy().into_owned())
            } else {
                Ok(descriptions(result))
            };
            sys::rd_kafka_event_destroy(event);
            answer
        };
        Some(answer)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue is alive and ours; the client that it belongs to is still held.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.raw.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.raw.as_ptr());
        }
    }
}

// SAFETY: librdkafka's queues may be used from any thread; the buffer is empty of live messages
// between calls.
unsafe impl Send for Queue {}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue")
    }
}

/// Safe only for a live consumer message.
unsafe fn item(message: &sys::rd_kafka_message_t) -> Item<'_> {
    match message.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
            // SAFETY: librdkafka gives pointers and lengths that belong together.
            let (key, value) = unsafe {
                (bytes(message.key, message.key_len), bytes(message.payload, message.len))
            };
            Item::Record(Fetched { offset: message.offset, key, value, message })
        }
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => Item::End(message.offset),
        error => {
            // SAFETY: a live message with an error; the text is static or lies in the message.
            let text = unsafe { CStr::from_ptr(sys::rd_kafka_message_errstr(message)) };
            Item::Error(error.into(), message.offset, text.to_string_lossy().into_owned())
        }
    }
}

/// Safe only when `data` is null or points to `length` bytes that live as long as `'a`.
unsafe fn bytes<'a>(data: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    NonNull::new(data.cast_mut())
        .map(|data| unsafe { std::slice::from_raw_parts(data.as_ptr().cast::<u8>(), length) })
}

impl<'a> Fetched<'a> {
    /// Kafka's timestamp in milliseconds, if it has one.
    pub(super) fn timestamp(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: a live message and a place for the kind.
        let millis = unsafe { sys::rd_kafka_message_timestamp(self.message, &mut kind) };
        (millis >= 0).then_some(millis)
    }

    /// The headers in order. Nothing is allocated when there are none.
    pub(super) fn headers(&self) -> Vec<(&'a str, Option<&'a [u8]>)> {
        let mut headers = Vec::new();
        let mut list = ptr::null_mut();
        // SAFETY: a live message; the list, if any, belongs to it.
        let code = unsafe { sys::rd_kafka_message_headers(self.message, &mut list) };
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return headers;
        }
        for index in 0.. {
            let (mut name, mut data, mut length) = (ptr::null(), ptr::null(), 0);
            // SAFETY: a live list; an index past its end is answered with an error.
            let code = unsafe {
                sys::rd_kafka_header_get_all(list, index, &mut name, &mut data, &mut length)
            };
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            // SAFETY: name and data lie in the message's list, which lives as long as `'a`.
            let (name, value) = unsafe { (CStr::from_ptr(name), bytes(data, length)) };
            headers.push((name.to_str().unwrap_or("\u{fffd}"), value));
        }
        headers
    }
}

/// Asks for ids and partitions of topics; the answer arrives in `answers`. Asks the controller unless
/// told another broker.
pub(super) fn describe(
    client: &BaseConsumer<Context>,
    topics: impl Iterator<Item = impl AsRef<str>>,
    broker: Option<i32>,
    answers: &Queue,
) {
    let names: Vec<CString> = topics.filter_map(|t| CString::new(t.as_ref()).ok()).collect();
    let mut pointers: Vec<_> = names.iter().map(|n| n.as_ptr()).collect();
    let millis = c_int::try_from(ANSWER.as_millis()).unwrap_or(c_int::MAX);
    let native = client.client().native_ptr();
    let kind = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: client and queue are alive; librdkafka copies names and options before it returns, and
    // both are destroyed once.
    unsafe {
        let options = sys::rd_kafka_AdminOptions_new(native, kind);
        sys::rd_kafka_AdminOptions_set_request_timeout(options, millis, ptr::null_mut(), 0);
        if let Some(broker) = broker {
            sys::rd_kafka_AdminOptions_set_broker(options, broker, ptr::null_mut(), 0);
        }
        let wanted =
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        sys::rd_kafka_DescribeTopics(native, wanted, options, answers.raw.as_ptr());
        sys::rd_kafka_TopicCollection_destroy(wanted);
        sys::rd_kafka_AdminOptions_destroy(options);
    }
}

/// Safe only for a live result.
unsafe fn descriptions(result: *const sys::rd_kafka_DescribeTopics_result_t) -> Vec<Described> {
    let mut count = 0;
    // SAFETY: a live result; the array has `count` live descriptions.
    let topics = unsafe { sys::rd_kafka_DescribeTopics_result_topics(result, &mut count) };
    (0..count)
        .map(|index| {
            // SAFETY: within the array, and the result is alive while it is read.
            unsafe { description(*topics.add(index)) }
        })
        .collect()
}

/// Safe only for a live description.
unsafe fn description(topic: *const sys::rd_kafka_TopicDescription_t) -> Described {
    // SAFETY: everything asked of the live description belongs to it and is copied.
    unsafe {
        let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic));
        let error = sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(topic));
        let found = if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            let mut count = 0;
            let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &mut count);
            let number = |i| sys::rd_kafka_TopicPartitionInfo_partition(*partitions.add(i));
            Ok((topic_id(topic), (0..count).map(number).collect()))
        } else {
            Err(error.into())
        };
        Described { topic: name.to_string_lossy().into_owned(), found }
    }
}

/// Safe only for a live description. `None` for brokers without topic ids (an id of zeros).
unsafe fn topic_id(topic: *const sys::rd_kafka_TopicDescription_t) -> Option<String> {
    // SAFETY: the id belongs to the description, its text to the id.
    unsafe {
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null()
            || (sys::rd_kafka_Uuid_most_significant_bits(id) == 0
                && sys::rd_kafka_Uuid_least_significant_bits(id) == 0)
        {
            return None;
        }
        let text = sys::rd_kafka_Uuid_base64str(id);
        // As Kafka prints it: the alphabet that is safe in names.
        let safe = |text: &CStr| text.to_string_lossy().replace('+', "-").replace('/', "_");
        (!text.is_null()).then(|| safe(CStr::from_ptr(text)))
    }
}

/// The end of a partition as last heard in a fetch answer; asks nobody.
pub(super) fn cached_end(
    client: &BaseConsumer<Context>,
    topic: &CStr,
    partition: i32,
) -> Option<i64> {
    let (mut low, mut high) = (0, 0);
    // SAFETY: the client is alive, the topic a C string, and both places are ours.
    let code = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            client.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}
