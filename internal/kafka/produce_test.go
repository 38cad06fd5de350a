package kafka

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
)

// Requests are shown by what they carry; a record X is one that is refused, !
// one whose batch does not get through.
func TestABatchIsHalvedDownToTheRecordsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		sentence string
		batch    string
		requests string
		written  string
		refused  int
		n        int
	}{
		{"all are taken: one request", "abcd", "abcd", "abcd", 0, 4},
		{"one is refused", "abXd", "abXd ab Xd X d", "abd", 1, 4},
		{"all are refused", "XXX", "XXX X XX X X", "", 3, 3},
		{"an odd number", "aXbcd", "aXbcd aX a X bcd", "abcd", 1, 5},
		{"one alone", "X", "X", "", 1, 1},
		{"the broker goes away before anything is written", "ab!", "ab!", "", 0, 0},
		{"it goes away when the first half is written", "ab!X", "ab!X ab !X !", "ab", 0, 2},
		{"it goes away behind one that is refused", "Xb!!", "Xb!! Xb X b !!", "b", 1, 2},
		{"it names what it refuses: all else at once", "aNbN", "aNbN ab", "ab", 2, 4},
		{"it names all", "NN", "NN", "", 2, 2},
		{"it names one, and not why it refuses another", "aNXb", "aNXb aXb a Xb X b", "ab", 2, 4},
		{"it goes away behind those that it names", "aNb!", "aNb! ab!", "", 1, 1},
		{"it names one that is not there: halved", "a?b", "a?b a ?b ? b", "ab", 1, 3},
	} {
		var requests []string
		written, refused := "", 0
		send := func(part []rune) error {
			requests = append(requests, string(part))
			switch {
			case strings.ContainsRune(string(part), 'N'):
				answer := &BatchError{Code: kafkago.InvalidRecord, Records: map[int]string{}}
				for i, r := range part {
					if r == 'N' {
						answer.Records[i] = "why"
					}
				}
				return answer
			case strings.ContainsRune(string(part), '?'):
				return &BatchError{Code: kafkago.InvalidRecord, Records: map[int]string{len(part): "why"}}
			case strings.ContainsRune(string(part), 'X'):
				return fmt.Errorf("produce: %w", kafkago.MessageSizeTooLarge)
			case strings.ContainsRune(string(part), '!'):
				return errors.New("connection refused")
			}
			written += string(part)
			return nil
		}
		left, err := Halve([]rune(c.batch), send, Refused, func(r rune, err error) {
			if refused++; (r != 'X' || !TooLarge(err)) && (r != 'N' || err.Error() != kafkago.InvalidRecord.Error()+": why") && (r != '?' || !Invalid(err)) {
				t.Errorf("%s: %c is refused: %v", c.sentence, r, err)
			}
		})
		n := len(c.batch) - len(left)
		kept := strings.ReplaceAll(c.batch, "N", "") // those are refused before the others are sent
		if !strings.HasSuffix(c.batch, string(left)) && !strings.HasSuffix(kept, string(left)) {
			t.Errorf("%s: %s is left", c.sentence, string(left))
		}
		if got := strings.Join(requests, " "); got != c.requests || written != c.written || refused != c.refused || n != c.n || (err != nil) != (n < len(c.batch)) {
			t.Errorf("%s: sent %s, written %s, %d refused, %d done, %v", c.sentence, got, written, refused, n, err)
		}
	}
}
