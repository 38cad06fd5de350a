"""What the clerk does about outcomes, without a broker: python -m unittest."""

import contextlib
import io
import json
import unittest
from datetime import UTC, datetime, timedelta
from typing import Any

from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent

import clerk
import publish


class Record:
    """A record of the outcomes topic, as confluent_kafka.Message has it."""

    def __init__(self, offset: int, headers: dict[str, bytes | None], value: bytes | None) -> None:
        self._offset, self._headers, self._value = offset, headers, value

    def topic(self) -> str:
        return "closeorder.outcomes"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return self._offset

    def headers(self) -> list[tuple[str, bytes | None]]:
        return list(self._headers.items())

    def value(self) -> bytes | None:
        return self._value


def outcome(result: str, offset: int = 0, replay: int = 0, **fields: Any) -> Record:
    """An outcome as the worker writes it, with the id of its source."""
    value = {
        "outcome": result,
        "out_trade_no": "T1",
        "mch_id": "1900000109",
        "request_id": "r-1",
        "safe_to_reissue": result == "closed",
        "attempts": 1,
        "replay": replay,
        "completed_at": "2026-02-01T08:00:00Z",
        "source": {"topic": "closeorder.requests", "partition": 3, "offset": offset},
    } | fields
    attributes = {
        "id": f"id-{offset}-{replay}",
        "type": f"closeorder.{result}",
        "source": "/closeorder",
        "datacontenttype": "application/json",
    }
    message = kafka.to_binary_event(CloudEvent(attributes, value))
    return Record(offset, dict(message.headers), message.value)


class WhatTheClerkDoes(unittest.TestCase):
    def setUp(self) -> None:
        self.published: list[dict[str, Any]] = []
        self.clerk = clerk.Clerk(self.published.append, timedelta(seconds=90))

    def actions(self, *records: Record) -> list[str]:
        """The actions about some records, one after the other."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            for record in records:
                self.clerk.take(record)  # type: ignore[arg-type]
        lines = [json.loads(line) for line in said.getvalue().splitlines()]
        return [" ".join(line.values()) for line in lines]

    def test_a_request_that_was_published_twice_is_acted_on_once(self) -> None:
        first, second = (outcome("closed", offset, replacement_out_trade_no="T2") for offset in (1, 2))
        self.assertEqual(self.actions(first, second), ["reissue T1 r-1 T2"])

    def test_a_repeat_is_not_acted_on(self) -> None:
        self.assertEqual(self.actions(outcome("closed"), outcome("closed")), ["give_up T1 r-1"])

    def test_a_failed_gives_way_to_what_its_replay_has_proven(self) -> None:
        self.assertEqual(
            self.actions(outcome("failed"), outcome("paid", replay=1), outcome("failed", replay=2)),
            ["person T1 r-1", "settle T1 r-1"],
        )

    def test_the_same_request_id_of_another_order_is_another_request(self) -> None:
        self.assertEqual(
            self.actions(outcome("closed", 1), outcome("closed", 2, mch_id="2"), outcome("closed", 3, sub_mch_id="3")),
            ["give_up T1 r-1"] * 3,
        )

    def test_what_is_not_safe_is_asked_again_with_its_age_and_after_the_pause(self) -> None:
        metadata = {"order_created_at": "2026-02-01T07:00:00+08:00", "cart": 1}
        unsafe = outcome(
            "closed", safe_to_reissue=False, sub_mch_id="3", replacement_out_trade_no="T2", metadata=metadata
        )
        self.assertEqual(self.actions(unsafe), ["ask_again T1 r-1"])
        (request,) = self.published
        wait = datetime.fromisoformat(request.pop("not_before")) - datetime.now(UTC)
        self.assertTrue(timedelta(seconds=30) < wait <= timedelta(seconds=90), wait)
        want = {
            "out_trade_no": "T1",
            "mch_id": "1900000109",
            "sub_mch_id": "3",
            "request_id": "r-1+2",
            "replacement_out_trade_no": "T2",
            "order_created_at": "2026-02-01T07:00:00+08:00",
            "metadata": metadata,
        }
        self.assertEqual(request, want)

    def test_the_age_is_left_out_where_nobody_tells_it(self) -> None:
        for number, metadata in enumerate(({}, {"order_created_at": 1769900000}, {"order_created_at": None})):
            self.actions(outcome("closed", number, safe_to_reissue=False, out_trade_no=f"T{number}", metadata=metadata))
            self.assertNotIn("order_created_at", self.published[-1])
        self.assertEqual(len(self.published), 3)

    def test_what_is_not_safe_is_asked_again_until_it_is(self) -> None:
        for before, then in {"r-1": "r-1+2", "r-1+2": "r-1+3", "r+1+9": "r+1+10", "r+x": "r+x+2", "+2": "+2+2"}.items():
            self.actions(outcome("closed", safe_to_reissue=False, request_id=before))
            self.assertEqual(self.published[-1]["request_id"], then)

    def test_a_failed_goes_to_a_person_and_is_asked_again_once(self) -> None:
        self.assertEqual(
            self.actions(outcome("failed", 1), outcome("failed", 2, request_id="r-1+2")),
            ["person T1 r-1", "person T1 r-1+2"],
        )
        self.assertEqual([request["request_id"] for request in self.published], ["r-1+2"])

    def test_what_is_not_known_to_be_asked_again_is_not_done(self) -> None:
        def fails(request: dict[str, Any]) -> None:
            raise ConnectionError

        done, self.clerk._publish = self.clerk._publish, fails
        with self.assertRaises(ConnectionError):
            self.actions(outcome("failed"))
        self.clerk._publish = done
        self.assertEqual(self.actions(outcome("failed")), ["person T1 r-1"])
        self.assertEqual(len(self.published), 1)

    def test_headers_of_others_change_nothing(self) -> None:
        good = outcome("closed")
        headers: dict[str, bytes | None] = dict(good.headers()) | {"trace-bin": b"\xff", "note": None}
        self.assertEqual(self.actions(Record(1, headers, good.value())), ["give_up T1 r-1"])

    def test_outcomes_that_name_nothing_are_one_for_each_record(self) -> None:
        nameless = [outcome("failed", offset, out_trade_no="", request_id="", mch_id="") for offset in (1, 2, 1)]
        self.assertEqual(self.actions(*nameless), ["person  "] * 2)
        self.assertEqual(self.published, [])

    def test_what_is_no_outcome_goes_to_a_person_and_stops_nothing(self) -> None:
        good = outcome("closed")
        headers, value = dict(good.headers()), json.loads(good.value() or b"")
        for sentence, record in {
            "a tombstone": Record(1, headers, None),
            "no headers": Record(1, {}, good.value()),
            "a header without a value": Record(1, headers | {"ce_type": None}, good.value()),
            "a header that is not text": Record(1, headers | {"ce_id": b"\xff"}, good.value()),
            "no JSON": Record(1, headers, b"closed"),
            "not UTF-8": Record(1, headers, b'{"outcome":"\xff"}'),
            "no object": Record(1, headers, b"[]"),
            "another type": Record(1, headers | {"ce_type": b"closeorder.paid"}, good.value()),
            "a time that is none": Record(1, headers | {"ce_time": b"yesterday"}, good.value()),
            "an outcome that nobody knows": outcome("reversed"),
            "paid and safe to reissue": outcome("paid", safe_to_reissue=True),
            "safe to reissue as text": outcome("closed", safe_to_reissue="true"),
            "no source": Record(1, headers, json.dumps(value | {"source": None}).encode()),
            "metadata that is no object": outcome("closed", safe_to_reissue=False, metadata=[]),
            "a new number that is none": outcome("closed", replacement_out_trade_no=2),
            "a number as mch_id": outcome("closed", mch_id=1900000109),
            "a replay that is none": outcome("closed", replay=True),
        }.items():
            with self.subTest(sentence):
                self.assertEqual(self.actions(record), ["person  "])
        self.assertEqual(self.actions(good), ["give_up T1 r-1"])


class Requests(unittest.TestCase):
    def test_a_request_is_a_cloudevent_in_binary_mode(self) -> None:
        message = publish.event(
            {"out_trade_no": "T1", "mch_id": "1900000109", "request_id": "r-1", "metadata": {"a": "购"}}
        )
        self.assertEqual(message.key, "T1")
        self.assertEqual(json.loads(message.value)["metadata"], {"a": "购"})
        time = message.headers.pop("ce_time")
        self.assertLess(abs(datetime.fromisoformat(time.decode()) - datetime.now(UTC)), timedelta(hours=1))
        want = {
            "ce_specversion": b"1.0",
            "ce_id": b"r-1",
            "ce_source": b"/examples/python",
            "ce_type": b"closeorder.requested",
            "ce_subject": b"T1",
            "content-type": b"application/json",
        }
        self.assertEqual(message.headers, want)


if __name__ == "__main__":
    unittest.main()
