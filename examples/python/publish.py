"""Publishes close requests, as docs/contract.md of closeorder wants them."""

from typing import Any

from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import KafkaError, KafkaException, Message, Producer

TOPIC = "closeorder.requests"


class Publisher:
    """A producer of close requests."""

    def __init__(self, brokers: str) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "client.id": "closeorder-example-python",
                # A request that a broker loses leaves an order that can be paid.
                "acks": "all",
                # What librdkafka sends again is neither written twice nor behind a later one.
                "enable.idempotence": True,
                # A stop and a person wait no longer than this for brokers that do not answer.
                "delivery.timeout.ms": 30000,
                # Requests of one order are served one after the other as long as they
                # stand in one partition. By default librdkafka puts a key elsewhere
                # (CRC32) than Java and "closeorder request" do.
                "partitioner": "murmur2_random",
            }
        )

    def publish(self, requests: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
        """Publish requests and wait until all brokers that must have them do.

        Returns the topic, partition and offset of each: the source of its
        outcome. KafkaException, with the order's number, where one is not
        known to be written; publish all of them again then, under the same
        request_id: two records of a request do no harm.
        """
        reports = [self._produce(request) for request in requests]
        # produce only hands over: until flush returns nothing is known to be written.
        self._producer.flush()
        written = [report.place for report in reports if report.place]
        if len(written) < len(requests):
            number, report = next((n, report) for n, report in enumerate(reports) if not report.place)
            raise KafkaException(
                f"{len(requests) - len(written)} of {len(requests)} requests are not known to be written, "
                f"first {requests[number]['out_trade_no']} to topic {TOPIC}: {report.why}"
            )
        return written

    def _produce(self, request: dict[str, Any]) -> "_Report":
        message, report = event(request), _Report()
        while True:
            try:
                self._producer.produce(
                    TOPIC,
                    key=message.key,
                    value=message.value,
                    headers=list(message.headers.items()),
                    on_delivery=report.fill,
                )
                return report
            except BufferError:  # its queue is full
                self._producer.poll(1)


class _Report:
    """What became of a record that was handed to the producer: where it is, or why that is not known."""

    place: tuple[str, int, int] | None = None
    why: str = "nothing was reported"

    def fill(self, error: KafkaError | None, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error:
            self.why = error.str()
        elif topic is not None and partition is not None and offset is not None:
            self.place = topic, partition, offset


def event(request: dict[str, Any]) -> kafka.KafkaMessage:
    """A request as a CloudEvent in binary mode: attributes are headers, the value is the request."""
    attributes = {
        "type": "closeorder.requested",
        "source": "/examples/python",
        "subject": request["out_trade_no"],
        "datacontenttype": "application/json",
        # specversion, time (now) and where there is none an id are the SDK's. The id
        # is the name of a request that has no request_id.
    }
    if request.get("request_id"):
        attributes["id"] = request["request_id"]
    return kafka.to_binary_event(
        CloudEvent(attributes, request),
        # The bare number. Unasked the SDK takes the attribute partitionkey, and
        # without one there is no key.
        key_mapper=lambda e: e.get_subject(),
    )
