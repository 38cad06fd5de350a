"""Follows the outcomes and acts on each request once. Each action is a line of JSON."""

import argparse
import signal
import sys
from collections.abc import Callable
from datetime import timedelta

from confluent_kafka import Consumer, KafkaException

from clerk import Clerk, place
from publish import Publisher

TOPIC = "closeorder.outcomes"


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--brokers", required=True, help="bootstrap brokers, host:port, comma-separated")
    flags.add_argument("--group", default="closeorder-example-python", help="consumer group (%(default)s)")
    flags.add_argument(
        "--exit-after", type=int, default=0, metavar="ACTIONS", help="stop after so many actions; 0: never"
    )
    flags.add_argument(
        "--ask-again-after",
        type=float,
        default=60,
        metavar="SECONDS",
        help="pause before a request is asked again (%(default)s)",
    )
    args = flags.parse_args()

    # SIGTERM and Ctrl-C: what is begun is finished and committed, and the group
    # hears that its member leaves.
    stopping: list[int] = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, _: stopping.append(number))

    try:
        publisher = Publisher(args.brokers)
        clerk = Clerk(lambda request: publisher.publish([request]), timedelta(seconds=args.ask_again_after))
        follow(args.brokers, args.group, clerk, lambda: bool(stopping) or 0 < args.exit_after <= clerk.actions)
    except KafkaException as e:
        # What was not committed is read again by the next start.
        print(f"follow: {e}", file=sys.stderr)
        return 1
    return 0


def follow(brokers: str, group: str, clerk: Clerk, stop: Callable[[], bool]) -> None:
    """Hand all outcomes to the clerk until stop says so, and commit each when it is acted on."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "client.id": "closeorder-example-python",
            "group.id": group,
            # A new group begins with the oldest outcome: all that was answered before it would be lost otherwise.
            "auto.offset.reset": "earliest",
            # Committed by time an outcome may be skipped that nobody has acted on.
            "enable.auto.commit": False,
            # One that died is missed after so long, and until then its outcomes wait: the default is 45 s.
            "session.timeout.ms": 10000,
            # librdkafka's default; not the default of others, and it decides what is read.
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([TOPIC])
    try:
        while not stop():
            message = consumer.poll(0.5)
            if message is None:
                continue
            if error := message.error():
                if error.fatal():
                    raise KafkaException(error)
                print(f"follow: topic {TOPIC}: {error}; going on", file=sys.stderr)
                continue
            clerk.take(message)
            # After acting, never before: what is committed is never read again. One by one is slow and simple; by
            # the batch it is as safe.
            try:
                consumer.commit(message=message, asynchronous=False)
            except KafkaException as e:
                # Another member has the partition now, and acts again on what is not committed.
                print(f"follow: {place(message)}: not committed: {e}", file=sys.stderr)
    finally:
        consumer.close()


if __name__ == "__main__":
    sys.exit(main())
