package kafka

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
)

// Span is a run of offsets of one partition, both ends included. Its text is
// topic[partition]@first-last.
type Span struct {
	Topic       string
	Partition   int
	First, Last int64
}

func (s Span) String() string {
	return fmt.Sprintf("%s[%d]@%d-%d", s.Topic, s.Partition, s.First, s.Last)
}

var spanText = regexp.MustCompile(`^([a-zA-Z0-9._-]{1,249})\[([0-9]+)\]@([0-9]+)-([0-9]+)$`)

// ParseSpan reads what String writes. The error names the text and says what
// it should have been.
func ParseSpan(text string) (Span, error) {
	m := spanText.FindStringSubmatch(text)
	if m == nil {
		return Span{}, fmt.Errorf("%q is not topic[partition]@first-last, both offsets included; write for example closeorder.requests[3]@100-120", text)
	}
	partition, err1 := strconv.ParseInt(m[2], 10, 32)
	first, err2 := strconv.ParseInt(m[3], 10, 64)
	last, err3 := strconv.ParseInt(m[4], 10, 64)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return Span{}, fmt.Errorf("%q holds a number that is too large for a partition or an offset", text)
	}
	if last < first {
		return Span{}, fmt.Errorf("%q ends before it begins; write the lower offset first", text)
	}
	return Span{Topic: m[1], Partition: int(partition), First: first, Last: last}, nil
}
