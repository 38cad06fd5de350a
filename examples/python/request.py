"""Asks closeorder to close orders: one by flags, or many as NDJSON on standard input."""

import argparse
import json
import sys
from typing import Any

from confluent_kafka import KafkaException

from publish import Publisher


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--brokers", required=True, help="bootstrap brokers, host:port, comma-separated")
    flags.add_argument("--mch-id", help="the merchant")
    flags.add_argument(
        "--out-trade-no", help="number of the order to close; without it requests are read from standard input"
    )
    flags.add_argument("--replacement", metavar="OUT_TRADE_NO", help="the number that you want to issue next")
    flags.add_argument(
        "--request-id", help="name of the request, the same when it is published again; by default a new one each time"
    )
    flags.add_argument("--order-created-at", metavar="TIME", help="when you sent the create call, RFC 3339 with a zone")
    flags.add_argument("--reason", help="payment_failed, payment_timeout or any text")
    args = flags.parse_args()

    if args.out_trade_no and not args.mch_id:
        flags.error("--out-trade-no needs --mch-id")
    fields = {
        "mch_id": args.mch_id,
        "out_trade_no": args.out_trade_no,
        "request_id": args.request_id,
        "reason": args.reason,
        # With it an order that nobody has ever seen is known to be old enough: it
        # is safe to reissue, and does not have to be asked about again.
        "order_created_at": args.order_created_at,
        # It comes back in the outcome, so that whoever acts on it need not look it up.
        "replacement_out_trade_no": args.replacement,
    }
    given = {field: value for field, value in fields.items() if value is not None}
    if given and not args.out_trade_no:
        flags.error("a request by flags needs --out-trade-no; one on standard input has its own fields")
    try:
        requests = [given] if given else read_lines()
        # In your service what is to be published stands in an outbox, written in one
        # transaction with why; this is then the relay of it: see examples/shop.
        sources = Publisher(args.brokers).publish(requests)
    except ValueError as e:
        print(f"request: {e}", file=sys.stderr)
        return 2
    except KafkaException as e:
        print(f"request: {e}", file=sys.stderr)
        return 1
    for request, (topic, partition, offset) in zip(requests, sources, strict=True):
        # An outcome names its source: where the request itself could not be read,
        # this is how to match them.
        published = {"out_trade_no": request["out_trade_no"], "topic": topic, "partition": partition, "offset": offset}
        print(json.dumps(published, ensure_ascii=False, separators=(",", ":")))
    return 0


def read_lines() -> list[dict[str, Any]]:
    """The requests on standard input, with fields as on the wire; ValueError names the line.

    Only what publishing needs is checked: the worker checks all of it, and
    answers what it refuses with a failed outcome that says why.
    """
    requests = []
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        try:
            request = json.loads(line)
        except ValueError as e:
            raise ValueError(f"line {number}: not JSON: {e}") from e
        if not isinstance(request, dict):
            raise ValueError(f"line {number}: not a JSON object")
        if not isinstance(request.get("out_trade_no"), str) or not request["out_trade_no"]:
            raise ValueError(f"line {number}: no out_trade_no, and so no key to publish it under")
        if not isinstance(request.get("request_id", ""), str):
            raise ValueError(f"line {number}: request_id is not text")
        requests.append(request)
    if not requests:
        raise ValueError("there is no request on standard input, and none was given by flags")
    return requests


if __name__ == "__main__":
    sys.exit(main())
