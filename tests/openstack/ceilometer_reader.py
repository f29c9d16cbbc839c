"""The real ceilometermiddleware and the real reader of its notifications, driven one order at a time. Runs with the Python of
the services' environment.

    ceilometer_reader.py URL SWIFT_CONF

Its orders (`orders.py`):

    {"do": "tell", "environ": {...}, "body": B, "answer": [STATUS, HEADERS, B], "options": {...}}
                                            has ceilometermiddleware see a request, before an application that answers so
    {"do": "take", "queue": Q}              the next message of a queue as AMQP has it, or null
    {"do": "declare", "exchange": E, "queue": Q}    both durable, as some other service might have made them
    {"do": "listen", "exchange": E, "topic": T}     oslo.messaging's listener, as Ceilometer's agent starts it
    {"do": "heard"}                         what that has heard so far
"""

import io
import sys

import amqp
import oslo_messaging
from ceilometermiddleware import swift
from oslo_config import cfg

from orders import obey


class Ears:
    """An endpoint of the listener."""

    def __init__(self):
        self.heard = []

    def info(self, context, publisher_id, event_type, payload, metadata):
        self.heard.append(
            {"publisher_id": publisher_id, "event_type": event_type, "payload": payload, "metadata": metadata}
        )


class Reader:
    def __init__(self, url, swift_conf):
        self.url, self.swift_conf = url, swift_conf
        self.middleware = {}
        self.ears = Ears()
        self.listener = None

    def channel(self):
        login, _, place = self.url.removeprefix("rabbit://").rstrip("/").rpartition("@")
        user, _, password = login.partition(":")
        connection = amqp.Connection(place, userid=user, password=password, login_method="PLAIN")
        connection.connect()
        return connection, connection.channel()

    def tell(self, environ, body, answer, options):
        status, headers, content = answer

        def application(env, start_response):
            env["wsgi.input"].read()
            start_response(status, [tuple(header) for header in headers])
            return [content.encode()]

        made = swift.filter_factory({}, url=self.url, swift_conf_file=self.swift_conf, **options)(application)
        environ = environ | {"wsgi.input": io.BytesIO(body.encode())}
        for _ in made(environ, lambda *_: None):
            pass

    def take(self, queue):
        connection, channel = self.channel()
        try:
            found = channel.basic_get(queue, no_ack=True)
        except amqp.exceptions.NotFound:
            return None
        finally:
            connection.close()
        if found is None:
            return None
        place = {name: found.delivery_info[name] for name in ("exchange", "routing_key")}
        return {"body": found.body, "properties": found.properties, "place": place}

    def declare(self, exchange, queue):
        connection, channel = self.channel()
        channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
        channel.queue_declare(queue, durable=True, auto_delete=False)
        connection.close()

    def listen(self, exchange, topic):
        conf = cfg.ConfigOpts()
        conf([], project="ceilometer")
        oslo_messaging.set_transport_defaults(exchange)
        transport = oslo_messaging.get_notification_transport(conf, url=self.url)
        target = oslo_messaging.Target(exchange=exchange, topic=topic)
        self.listener = oslo_messaging.get_notification_listener(transport, [target], [self.ears], executor="threading")
        self.listener.start()

    def heard(self):
        return self.ears.heard


def main():
    reader = obey(lambda: Reader(*sys.argv[1:3]))
    if reader.listener:
        reader.listener.stop()


if __name__ == "__main__":
    main()
