"""Which outcome of a request counts. Nothing of Kafka is known here.

It is events.Supersedes of closeorder in Python, and held to its vectors
(testdata/events/precedence.json) by test_precedence.py.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What the worker answers to one record of the requests topic."""

    id: str  # ce_id: the same for every repeat of this outcome
    result: str  # closed, paid or failed
    mch_id: str
    sub_mch_id: str
    out_trade_no: str
    request_id: str
    replay: int  # 0 for an original, else which replay of the dead letter
    source: tuple[str, int, int]  # topic, partition and offset of the record that is answered
    safe_to_reissue: bool  # true only when the old number can no longer be paid
    replacement_out_trade_no: str  # the new number that was asked for
    metadata: dict[str, Any]  # of the request
    value: dict[str, Any]  # all fields, as they are on the wire

    @property
    def order(self) -> tuple[str, str, str]:
        """The order: the same number at another merchant is another one."""
        return self.mch_id, self.sub_mch_id, self.out_trade_no

    @property
    def named(self) -> bool:
        """Whether the order or the request could be read of the record."""
        return bool(self.out_trade_no or self.request_id)

    @property
    def final(self) -> bool:
        """closed and paid rest on proof and stay; failed proves nothing."""
        return self.result in ("closed", "paid")


def read(event_id: str, value: Any) -> Outcome:
    """Make an Outcome of a CloudEvent's id and data.

    Fields that it does not know are ignored: new ones may come. ValueError
    says what is wrong with those that it needs. It is strict about them, as a
    wrong "closed" lets a buyer pay twice.
    """
    if not isinstance(value, dict):
        raise ValueError("the value is not a JSON object")
    if value.get("outcome") not in ("closed", "paid", "failed"):
        raise ValueError(f"outcome is {value.get('outcome')!r}, want closed, paid or failed")
    safe = value.get("safe_to_reissue")
    if not isinstance(safe, bool):
        raise ValueError(f"safe_to_reissue is {safe!r}, want true or false")
    if safe and value["outcome"] != "closed":
        raise ValueError(f"safe_to_reissue is true, and outcome is {value['outcome']}")
    source = value.get("source")
    if not isinstance(source, dict):
        raise ValueError("source is not an object")
    metadata = value.get("metadata", {})
    if not isinstance(metadata, dict):
        raise ValueError("metadata is not an object")
    return Outcome(
        id=event_id,
        result=value["outcome"],
        mch_id=_text(value, "mch_id"),
        sub_mch_id=_text(value, "sub_mch_id"),
        out_trade_no=_text(value, "out_trade_no"),
        request_id=_text(value, "request_id"),
        replay=_number(value, "replay"),
        source=(_text(source, "topic"), _number(source, "partition"), _number(source, "offset")),
        safe_to_reissue=safe,
        replacement_out_trade_no=_text(value, "replacement_out_trade_no"),
        metadata=metadata,
        value=value,
    )


def _text(value: dict[str, Any], field: str) -> str:
    text = value.get(field, "")  # what is not known is left out
    if not isinstance(text, str):
        raise ValueError(f"{field} is {text!r}, want text")
    return text


def _number(value: dict[str, Any], field: str) -> int:
    number = value.get(field)
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError(f"{field} is {number!r}, want a number")
    return number


def same_request(a: Outcome, b: Outcome) -> bool:
    """Whether a and b answer the same request, be it the original or a replay."""
    if a.order != b.order or a.request_id != b.request_id:
        return False
    # Answers to records so broken that they name nothing: the record tells.
    return a.named or _same_record(a, b)


def supersedes(current: Outcome, after: Outcome) -> bool:
    """Whether after takes the place of current as the answer to their request."""
    if not same_request(current, after):
        return False
    # A repeat has the same id and says nothing new, also where it says
    # something else: of repeats that differ the first counts.
    if (current.id == after.id and current.id) or _same_record(current, after):
        return False
    if current.final:
        return False
    # failed gives way to proof, whichever record of the request brought it,
    # and to the failed of a later replay.
    return after.final or after.replay > current.replay


def _same_record(a: Outcome, b: Outcome) -> bool:
    return a.source == b.source and a.replay == b.replay
