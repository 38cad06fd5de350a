package main

import "testing"

func TestAWorkerIsCollectedSoonerUnlessTheOperatorSaysOtherwise(t *testing.T) {
	for sentence, tt := range map[string]struct {
		env  []string
		want int
	}{
		"nothing is said":              {nil, collectAt},
		"a limit is set":               {[]string{"GOMEMLIMIT=100MiB"}, 0},
		"when to collect is set":       {[]string{"A=b", "GOGC=200"}, 0},
		"something else looks like it": {[]string{"MY_GOGC=200", "X=GOMEMLIMIT=1"}, collectAt},
	} {
		t.Run(sentence, func(t *testing.T) {
			var got int
			a := &app{env: tt.env, setGCPercent: func(percent int) int { got = percent; return 100 }}
			a.collect()
			if got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
	(&app{}).collect() // not its own process
}
