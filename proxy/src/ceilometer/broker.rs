//! A connection to the message broker: declares where messages go, publishes them, and waits until the broker has them.
//!
//! Exchange, queue, properties and confirms are those of oslo.messaging's RabbitMQ driver: a topic exchange, and a queue
//! named after the routing key, so that nothing is lost while nobody reads yet.

use super::config::Settings;
use super::url::BrokerAddress;
use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{
    BasicPublishArguments, Channel, ConfirmSelectArguments, ExchangeDeclareArguments, QueueBindArguments,
    QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::tls::TlsAdaptor;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, FieldTable, FieldValue, Nack, Return};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// From the first packet to the last declaration.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// For all messages of one call. A broker that is short of memory or disk stops reading, and is then left.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(30);
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// Words of the broker that wait to be read: more than it has to say about the messages of one call.
const TOLD_ROOM: usize = 256;
/// Written to disk where the queue is durable, as oslo.messaging's.
const PERSISTENT: u8 = 2;

/// What the broker says about what was published.
enum Told {
    /// It has the message of this number; `true`: and all before it.
    Taken(u64, bool),
    Refused(u64, bool),
    Closed(String),
}

/// A connection on which messages can be published.
pub struct Session {
    connection: Connection,
    channel: Channel,
    told: mpsc::Receiver<Told>,
    properties: BasicProperties,
    place: BasicPublishArguments,
    /// Messages published on this channel: the number of the last.
    published: u64,
}

impl Session {
    /// # Errors
    /// Why this broker cannot be used now, for the log.
    pub async fn open(settings: &Settings, broker: &BrokerAddress) -> Result<Self, String> {
        match timeout(OPEN_PATIENCE, Self::opened(settings, broker)).await {
            Ok(opened) => opened,
            Err(_) => Err(format!("no answer within {} s", OPEN_PATIENCE.as_secs())),
        }
    }

    async fn opened(settings: &Settings, broker: &BrokerAddress) -> Result<Self, String> {
        let mut arguments =
            OpenConnectionArguments::new(&broker.host, broker.port, &broker.user, &broker.password);
        if broker.host.contains(':') {
            arguments.host(&format!("[{}]", broker.host));
        }
        arguments
            .virtual_host(&settings.virtual_host)
            .connection_name(&format!("martlet:{}:ceilometer", std::process::id()));
        if let Some(tls) = &settings.tls {
            let connector = TlsConnector::from(tls.clone());
            arguments.tls_adaptor(TlsAdaptor::new(connector, broker.host.clone()));
        }
        let connection = Connection::open(&arguments).await.map_err(text)?;
        let (channel, told) = declare(settings, &connection).await?;
        channel
            .confirm_select(ConfirmSelectArguments::default())
            .await
            .map_err(text)?;
        let mut properties = BasicProperties::default();
        properties
            .with_content_type("application/json")
            .with_content_encoding("utf-8")
            .with_headers(FieldTable::new())
            .with_delivery_mode(PERSISTENT)
            .with_priority(0);
        Ok(Session {
            connection,
            channel,
            told,
            properties: properties.finish(),
            place: BasicPublishArguments::new(&settings.exchange, &settings.queue),
            published: 0,
        })
    }

    /// Whether the other end was there when it was last heard of.
    pub fn is_open(&self) -> bool {
        self.connection.is_open() && self.channel.is_open()
    }

    /// Publishes all, and takes those out of the list that the broker has answered about. How many it has refused.
    ///
    /// # Errors
    /// Why the connection is of no use any more. What is left in the list may have come and may not.
    pub async fn publish(&mut self, messages: &mut Vec<Vec<u8>>) -> Result<usize, String> {
        let mut number = self.published;
        let mut waiting = (number + 1..=number + messages.len() as u64).collect();
        let done = timeout(CONFIRM_PATIENCE, self.published(messages, &mut waiting)).await;
        messages.retain(|_| {
            number += 1;
            waiting.contains(&number)
        });
        done.unwrap_or_else(|_| Err(format!("no answer within {} s", CONFIRM_PATIENCE.as_secs())))
    }

    async fn published(
        &mut self,
        messages: &[Vec<u8>],
        waiting: &mut BTreeSet<u64>,
    ) -> Result<usize, String> {
        for message in messages {
            self.channel
                .basic_publish(self.properties.clone(), message.clone(), self.place.clone())
                .await
                .map_err(text)?;
            self.published += 1;
        }
        let mut refused = 0;
        while !waiting.is_empty() {
            match self.told.recv().await {
                Some(Told::Taken(number, with_all_before)) => {
                    answered(waiting, number, with_all_before);
                }
                Some(Told::Refused(number, with_all_before)) => {
                    refused += answered(waiting, number, with_all_before);
                }
                Some(Told::Closed(reason)) => return Err(reason),
                None => return Err("the connection ended".into()),
            }
        }
        Ok(refused)
    }

    /// Says goodbye, if the broker listens.
    pub async fn close(self) {
        let _ = timeout(CLOSE_PATIENCE, async {
            let _ = self.channel.close().await;
            let _ = self.connection.close().await;
        })
        .await;
    }
}

/// Takes out what an answer is about. How many that is.
fn answered(waiting: &mut BTreeSet<u64>, number: u64, with_all_before: bool) -> usize {
    let before = waiting.len();
    match with_all_before {
        true => *waiting = waiting.split_off(&(number + 1)),
        false => {
            waiting.remove(&number);
        }
    }
    before - waiting.len()
}

/// A channel on a connection whose exchange and queue are there. Made by somebody else in another way, durable for
/// instance, they are used as they are: the broker refuses to change them, and closes the channel that asked for it.
async fn declare(
    settings: &Settings,
    connection: &Connection,
) -> Result<(Channel, mpsc::Receiver<Told>), String> {
    let (mut channel, mut told) = open_channel(connection).await?;
    let exchange = ExchangeDeclareArguments::new(&settings.exchange, "topic")
        .durable(settings.is_durable)
        .auto_delete(settings.deletes_itself)
        .finish();
    if channel.exchange_declare(exchange.clone()).await.is_err() {
        (channel, told) = open_channel(connection).await?;
        let as_it_is = exchange.clone().passive(true).finish();
        channel.exchange_declare(as_it_is).await.map_err(text)?;
    }
    let mut arguments = FieldTable::new();
    if settings.is_quorum
        && let (Ok(name), Ok(kind)) = ("x-queue-type".try_into(), "quorum".to_owned().try_into())
    {
        arguments.insert(name, FieldValue::S(kind));
    }
    let queue = QueueDeclareArguments::new(&settings.queue)
        .durable(settings.is_durable)
        .auto_delete(settings.deletes_itself)
        .arguments(arguments)
        .finish();
    if channel.queue_declare(queue.clone()).await.is_err() {
        (channel, told) = open_channel(connection).await?;
        let as_it_is = queue.clone().passive(true).finish();
        channel.queue_declare(as_it_is).await.map_err(text)?;
    }
    let binding = QueueBindArguments::new(&settings.queue, &settings.exchange, &settings.queue);
    channel.queue_bind(binding).await.map_err(text)?;
    Ok((channel, told))
}

async fn open_channel(connection: &Connection) -> Result<(Channel, mpsc::Receiver<Told>), String> {
    let channel = connection.open_channel(None).await.map_err(text)?;
    let (teller, told) = mpsc::channel(TOLD_ROOM);
    channel.register_callback(Ears(teller)).await.map_err(text)?;
    Ok((channel, told))
}

fn text(error: amqprs::error::Error) -> String {
    error.to_string()
}

/// Hears what the broker says about a channel. Nobody listening is no error: the session is gone then.
struct Ears(mpsc::Sender<Told>);

#[async_trait]
impl ChannelCallback for Ears {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), amqprs::error::Error> {
        let _ = self.0.send(Told::Closed(close.to_string())).await;
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        let _ = self.0.send(Told::Taken(ack.delivery_tag(), ack.mutiple())).await;
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        let _ = self
            .0
            .send(Told::Refused(nack.delivery_tag(), nack.multiple()))
            .await;
    }

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_about_one_or_about_all_before() {
        let mut waiting: BTreeSet<u64> = (5..10).collect();
        assert_eq!(answered(&mut waiting, 6, false), 1);
        assert_eq!(answered(&mut waiting, 7, true), 2);
        assert_eq!(waiting, BTreeSet::from([8, 9]));
        // Of a call before this one.
        assert_eq!(answered(&mut waiting, 3, true), 0);
        assert_eq!(answered(&mut waiting, 9, true), 2);
    }
}
