"""What an order service does about outcomes, each request once."""

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cloudevents.core.bindings import kafka
from confluent_kafka import Message

import precedence
from precedence import Outcome

ASKED_AGAIN = re.compile(r"(.+)\+([0-9]{1,6})", re.DOTALL)


class Clerk:
    """Acts on outcomes. An action is a line of JSON on standard output; yours are in its place."""

    def __init__(self, publish: Callable[[dict[str, Any]], object], pause: timedelta) -> None:
        """publish returns when a request is written, and raises where that is not known."""
        self._publish = publish
        self._pause = pause
        # One outcome for each request. In your service this is a table with the
        # request as its key, and what you do about an outcome is written in one
        # transaction with the row: then a crash in between repeats nothing (see
        # examples/shop). Here it is in memory: what was not committed when the
        # process died is acted on again.
        self._kept: dict[Any, Outcome] = {}
        self.actions = 0

    def take(self, message: Message) -> None:
        """Act on a record of the outcomes topic, unless it says nothing new."""
        try:
            after = decode(message)
        except Exception as e:  # whatever the SDK raises on bytes of others
            # A person looks at it, and the outcomes behind it are read on: one
            # record must not hold up all orders.
            print(f"follow: {place(message)}: not an outcome: {e}", file=sys.stderr)
            self._say("person", "", "")
            return
        # The ce_id alone is not enough: a request that was published twice has two
        # outcomes with an id each, and acting on both issues two numbers.
        request = (after.order, after.request_id) if after.named else (after.source, after.replay)
        current = self._kept.get(request)
        if current is not None and not precedence.supersedes(current, after):
            return
        self._act(after)
        self._kept[request] = after

    def _act(self, o: Outcome) -> None:
        """By outcome and safe_to_reissue alone: a code is for people, and new ones may come."""
        if o.result == "paid":
            # The buyer has paid after all: deliver. If the purchase is paid or given up already, refund.
            self._say("settle", o.out_trade_no, o.request_id)
        elif o.result == "closed" and o.safe_to_reissue:
            # The old number can never be paid. Issue the new one, if the old one is
            # still the purchase's current one and the purchase is open.
            if o.replacement_out_trade_no:
                self._say("reissue", o.out_trade_no, o.request_id, o.replacement_out_trade_no)
            else:
                self._say("give_up", o.out_trade_no, o.request_id)
        elif o.result == "closed":
            # Nothing is payable now, but a create call that is still on its way may make it so: no new number yet.
            self._ask_again(o)
            self._say("ask_again", o.out_trade_no, o.request_id)
        else:
            # failed: nothing is known, the order may be payable. A person sees to it,
            # and it is asked about once more: in your service again and again, with growing pauses.
            if o.out_trade_no and o.mch_id and not ASKED_AGAIN.fullmatch(o.request_id):
                self._ask_again(o)
            self._say("person", o.out_trade_no, o.request_id)

    def _ask_again(self, o: Outcome) -> None:
        """Publish the request under a new request_id, to be served after the pause.

        A new one, as an answer under the old one would be taken for a repeat. It
        is written before the outcome is committed, and waits at the worker
        (not_before) and not here: a crash loses nothing.
        """
        echoed = ("mch_id", "appid", "sub_mch_id", "sub_appid", "out_trade_no", "replacement_out_trade_no", "metadata")
        request = {field: o.value[field] for field in echoed if field in o.value}
        request["request_id"] = following(o.request_id)
        # The age of the order makes "nobody has ever seen it" safe. Your service
        # knows when it sent the last create call; here metadata has brought it along.
        created_at = o.metadata.get("order_created_at")
        if isinstance(created_at, str):
            request["order_created_at"] = created_at
        if self._pause:
            request["not_before"] = (datetime.now(UTC) + self._pause).isoformat(timespec="seconds")
        self._publish(request)

    def _say(self, action: str, out_trade_no: str, request_id: str, new_out_trade_no: str = "") -> None:
        line = {"action": action, "out_trade_no": out_trade_no, "request_id": request_id}
        if new_out_trade_no:
            line["new_out_trade_no"] = new_out_trade_no
        print(json.dumps(line, ensure_ascii=False, separators=(",", ":")), flush=True)
        self.actions += 1


def decode(message: Message) -> Outcome:
    """Read a record of the outcomes topic; any exception means that it is none.

    Every outcome is a CloudEvent in binary mode.
    """
    value = message.value()
    if value is None:
        raise ValueError("it has no value")
    # Without the headers of others and the key, which is your request's: they may
    # be any bytes, or null, and the SDK reads none that are not UTF-8 (see
    # findings/cloudevents-python-headers-of-others.sh). The value names the order.
    headers = {
        name: text
        for name, text in dict(message.headers() or []).items()
        if isinstance(text, bytes) and (name.lower().startswith("ce_") or name.lower() == "content-type")
    }
    event = kafka.from_binary_event(kafka.KafkaMessage(headers, None, value))
    outcome = precedence.read(event.get_id(), event.get_data())
    if event.get_type() != f"closeorder.{outcome.result}":
        raise ValueError(f"its type is {event.get_type()}, and outcome is {outcome.result}")
    return outcome


def place(message: Message) -> str:
    """Where a record stands, for people who look for it."""
    return f"topic {message.topic()}, partition {message.partition()}, offset {message.offset()}"


def following(request_id: str) -> str:
    """The name of the next request about an order: c-1, c-1+2, c-1+3."""
    asked = ASKED_AGAIN.fullmatch(request_id)
    return f"{asked[1]}+{int(asked[2]) + 1}" if asked else f"{request_id}+2"
