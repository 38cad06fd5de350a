package kafka_test

import (
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/kafka"
)

func TestSpansAreReadAsTheyAreWritten(t *testing.T) {
	for _, s := range []kafka.Span{
		{Topic: "closeorder.requests", Partition: 3, First: 100, Last: 120},
		{Topic: "a-b_c.retries.10s", Partition: 0, First: 0, Last: 0},
		{Topic: "t", Partition: 1<<31 - 1, First: 1<<63 - 2, Last: 1<<63 - 1},
	} {
		if got, err := kafka.ParseSpan(s.String()); err != nil || got != s {
			t.Errorf("%s is read as %+v, %v", s, got, err)
		}
	}
}

func TestWhatIsNoSpanIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "is not topic[partition]@first-last",
		"requests":                          "is not topic[partition]@first-last",
		"requests[1]":                       "is not topic[partition]@first-last",
		"requests[1]@5":                     "is not topic[partition]@first-last",
		"requests@5-6":                      "is not topic[partition]@first-last",
		"requests[-1]@5-6":                  "is not topic[partition]@first-last",
		"requests[1]@-5-6":                  "is not topic[partition]@first-last",
		"[1]@5-6":                           "is not topic[partition]@first-last",
		"re quests[1]@5-6":                  "is not topic[partition]@first-last",
		"requests[1]@5-6 ":                  "is not topic[partition]@first-last",
		"requests[1]@6-5":                   "ends before it begins",
		"requests[2147483648]@5-6":          "too large",
		"requests[1]@5-9223372036854775808": "too large",
		"requests[1]@9223372036854775808-5": "too large",
	} {
		if _, err := kafka.ParseSpan(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: %v, want the text and %q", text, err, want)
		}
	}
}
