package main

import "testing"

func TestTheMemoryOfAWorkerFollowsMaxBufferedUnlessTheOperatorSaysOtherwise(t *testing.T) {
	for sentence, tt := range map[string]struct {
		env      []string
		inFlight int // 0 for the default
		want     int64
	}{
		"nothing is said":                {nil, 0, 52 << 20},
		"thousands of calls at one time": {nil, 256 + 4096, (52 + 256) << 20},
		"a limit is set":                 {[]string{"GOMEMLIMIT=100MiB"}, 0, 0},
		"when to collect is set":         {[]string{"A=b", "GOGC=200"}, 0, 0},
		"something else looks like it":   {[]string{"MY_GOGC=200", "X=GOMEMLIMIT=1"}, 0, 52 << 20},
	} {
		t.Run(sentence, func(t *testing.T) {
			var got int64
			a := &app{env: tt.env, setMemoryLimit: func(n int64) int64 { got = n; return 0 }}
			a.limitMemory(8<<20, max(tt.inFlight, 256))
			if got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
	(&app{}).limitMemory(8<<20, 256) // not its own process
}
