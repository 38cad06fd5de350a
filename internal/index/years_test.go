package index

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
)

// TestALetterOfAYearThatJSONHasNot would be listed as one that stands elsewhere.
func TestALetterOfAYearThatJSONHasNot(t *testing.T) {
	for what, at := range map[string]time.Time{
		"a year like ours":    time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		"one after year 9999": time.Date(12_000, 1, 1, 0, 0, 0, 0, time.UTC),
		"one before Christ":   time.Date(-500, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		var got deadletters.Listed
		text := jsonOf(listedOf(&deadletters.Letter{At: events.Source{Partition: 2, Offset: 17}, Written: at, Err: errors.New("it is none")}))
		if err := json.Unmarshal([]byte(text), &got); err != nil || got.Partition != 2 || got.Offset != 17 {
			t.Errorf("%s: %s, %v", what, text, err)
		}
	}
}
