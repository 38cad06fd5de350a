package leftout

import "testing"

// told takes note of the first thing that a test is told: it ends there.
type told struct {
	testing.TB
	says string
}

func (*told) Helper()            {}
func (t *told) Fatal(why ...any) { t.end("fails: ", why) }
func (t *told) Skip(why ...any)  { t.end("left out: ", why) }

func (t *told) end(how string, why []any) {
	if t.says == "" {
		t.says = how + why[0].(string)
	}
}

func TestWhatIsNotThereFailsWhereNothingMayBeLeftOut(t *testing.T) {
	for sentence, tt := range map[string]struct{ ci, required, want string }{
		"on a developer's machine": {"", "", "left out: *** LEFT OUT: no broker"},
		"in CI":                    {"true", "", "fails: no broker"},
		"where it is required":     {"", "1", "fails: no broker"},
		"where it is not":          {"false", "0", "left out: *** LEFT OUT: no broker"},
	} {
		t.Setenv("CI", tt.ci)
		t.Setenv("REQUIRED", tt.required)
		got := &told{TB: t}
		if Test(got, "no broker", "OTHER", "REQUIRED"); got.says != tt.want {
			t.Errorf("%s: %q", sentence, got.says)
		}
	}
}
