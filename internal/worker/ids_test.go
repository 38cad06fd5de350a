package worker

import (
	"strings"
	"testing"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/merchants"
	"pgregory.net/rapid"
)

// An id that a request may carry and a file may not, or the other way round,
// would be a merchant that nobody can close an order of. The two rooms do not
// know each other, so the rule stands in both, and here it is held to be one.
func TestAnIDIsJudgedAlikeInARequestAndInAFile(t *testing.T) {
	good := 0
	same := func(t interface{ Errorf(string, ...any) }, id string) {
		request, file := events.CheckMchID(id), merchants.CheckMchID(id)
		if (request == nil) != (file == nil) {
			t.Errorf("%q: a request with it: %v; a file with it: %v", id, request, file)
		}
		if request == nil {
			good++
		}
	}
	for _, id := range []string{
		"1900000109", "0071", "1e", "e9", "19-00", "m_1", strings.Repeat("1", 32),
		"", "1.9e+09", "1.9E9", "1e9", "1e-9", "0x71", "0X71", "0o17", "0b1", "0b", "1900000112.0", "1900000112.", ".5",
		"1_900_000_112", "1,900", "1'900", "+1900000112", "-19", "+", "-", "1 9", " 19", "19 ", "19\n", "\u00a019", "１９",
		`"19"`, "'19'", strings.Repeat("1", 33), "NaN", "null", "NULL", "None", "undefined", "nil", "none1", "Inf", "1e1e1", "1.9.0", "微信", "\xff",
	} {
		same(t, id)
	}
	if good < 7 {
		t.Errorf("only %d ids of the table are right", good)
	}
	rapid.Check(t, func(t *rapid.T) {
		same(t, rapid.OneOf(
			rapid.StringMatching(`[0-9eExXob+\-._, ']{0,14}`),
			rapid.StringMatching(`[0-9A-Za-z_\-]{0,34}`),
			rapid.StringMatching(`(?i)(null|undefined|none|nil|nan)[0-9]?`),
			rapid.String(),
		).Draw(t, "id"))
	})
}

// What a verdict says goes into the outcome as it is, so both rooms must spell
// it alike. events has the list.
func TestAVerdictSpeaksTheWordsOfAnOutcome(t *testing.T) {
	for theirs, ours := range map[string]string{
		closer.CodeInvalidRequest:    events.CodeInvalidRequest,
		closer.CodeUnknownMerchant:   events.CodeUnknownMerchant,
		closer.ConfirmedByCloseOrder: events.ConfirmedByCloseOrder,
		closer.ConfirmedByOrderQuery: events.ConfirmedByOrderQuery,
	} {
		if theirs != ours {
			t.Errorf("closer says %s, events %s", theirs, ours)
		}
	}
}
