package deadletters

import (
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/records"
)

// NewReplayID is an id that sorts by its time.
func NewReplayID(now time.Time) string {
	return now.UTC().Format("20060102T150405Z") + "-" + strings.ToLower(rand.Text()[:8])
}

// Words of a replay, as [CheckWords] names them.
const (
	WordID     = "replay-id"
	WordBy     = "by"
	WordReason = "reason"
)

// CheckWords names which words of a replay cannot stand in the headers of what it
// sends, and why. An empty id is none: what it has sent could not be told apart.
func CheckWords(r records.Replay) map[string]error {
	wrong := map[string]error{}
	if r.ID == "" {
		wrong[WordID] = errors.New("is empty; leave it out for a new one")
	}
	for word, says := range map[string]records.Replay{WordID: {ID: r.ID}, WordBy: {By: r.By}, WordReason: {Reason: r.Reason}} {
		if err := says.Check(); err != nil {
			wrong[word] = err
		}
	}
	return wrong
}
