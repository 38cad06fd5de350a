package peers

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/closeorder/closeorder/internal/bench/v2"
)

const key v2.Key = "0123456789abcdef0123456789abcdef"

// replies answers one call after the other; the last one again and again. An empty
// code is SUCCESS.
func replies(codes ...string) func(context.Context, []byte, []byte) ([]byte, error) {
	n := 0
	return func(_ context.Context, _, dst []byte) ([]byte, error) {
		code := codes[min(n, len(codes)-1)]
		n++
		switch code {
		case "no connection":
			return dst, errors.New(code)
		case "another key":
			return append(dst, v2.Key(code).Append(nil, fields("mch_id", "1", "result_code", "SUCCESS", "return_code", "SUCCESS"))...), nil
		case "":
			return append(dst, key.Append(nil, fields("mch_id", "1", "result_code", "SUCCESS", "return_code", "SUCCESS"))...), nil
		}
		return append(dst, key.Append(nil, fields("err_code", code, "mch_id", "1", "result_code", "FAIL", "return_code", "SUCCESS"))...), nil
	}
}

func fields(pairs ...string) []v2.Field {
	var fs []v2.Field
	for i := 0; i < len(pairs); i += 2 {
		fs = append(fs, v2.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return fs
}

func TestOutcomes(t *testing.T) {
	for sentence, c := range map[string]struct {
		codes    []string
		outcome  string
		attempts int
	}{
		"SUCCESS is closed":                     {[]string{""}, "closed", 1},
		"ORDERCLOSED is closed":                 {[]string{"ORDERCLOSED"}, "closed", 1},
		"ORDERPAID is paid":                     {[]string{"ORDERPAID"}, "paid", 1},
		"SYSTEMERROR is tried again":            {[]string{"SYSTEMERROR", "FREQUENCY_LIMITED", ""}, "closed", 3},
		"a call that does not arrive is, too":   {[]string{"no connection", ""}, "closed", 2},
		"five calls are the most":               {[]string{"SYSTEMERROR"}, "failed", 5},
		"what another key has signed is failed": {[]string{"another key"}, "failed", 1},
		"any other code is failed":              {[]string{"PARAM_ERROR"}, "failed", 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			handle := Handler(key, replies(c.codes...))
			value, err := handle(t.Context(), []byte(`{"request_id":"r","appid":"wx1","mch_id":"1","out_trade_no":"A1"}`))
			if err != nil {
				t.Fatal(sentence, err)
			}
			var o outcome
			if err := json.Unmarshal(value, &o); err != nil {
				t.Fatal(sentence, err)
			}
			if o.Outcome != c.outcome || o.Attempts != c.attempts || o.OutTradeNo != "A1" || o.RequestID != "r" {
				t.Errorf("%s: %s", sentence, value)
			}
		})
	}
}

func TestAWatermarkIsTheLowestThatIsNotFinished(t *testing.T) {
	w := newWatermark()
	for _, offset := range []int64{3, 4, 7, 8} {
		w.begin(offset)
	}
	for _, step := range []struct {
		finish int64
		commit int64
		moved  bool
	}{{7, 0, false}, {3, 4, true}, {8, 0, false}, {4, 9, true}} {
		if commit, moved := w.finish(step.finish); moved != step.moved || moved && commit != step.commit {
			t.Errorf("%d finished: commit %d, %v; want %d, %v", step.finish, commit, moved, step.commit, step.moved)
		}
	}
	w.wait() // nothing is open
}
