package main

import (
	"cmp"
	"os"
	"slices"
	"time"

	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/spf13/pflag"
)

// governance is the flags that say which replay it is, who began it and why.
type governance struct {
	id, by, reason string
	flags          *pflag.FlagSet
}

func (g *governance) add(flags *pflag.FlagSet, a *app) {
	g.flags = flags
	g.id = deadletters.NewReplayID(time.Now())
	flags.StringVar(&g.id, "replay-id", g.id, "`ID` of the replay, a new one unless given: that of one that was stopped goes on with it")
	flags.StringVar(&g.by, "by", a.user(), "`WHO` replays, for the records and the log; USER@HOST unless given, empty: nobody")
	flags.StringVar(&g.reason, "reason", "", "`WHY`, for the records and the log")
	// They differ from call to call: the text has said it.
	flags.Lookup("replay-id").DefValue, flags.Lookup("by").DefValue = "", ""
}

// check is a usage error for what cannot stand in a header.
func (g *governance) check() error {
	var wrong misuse
	for word, err := range deadletters.CheckWords(g.replay()) {
		if word == deadletters.WordID && g.id == "" {
			wrong.addf("--%s %v", word, err)
		} else {
			wrong.addf("--%s: %v", word, err)
		}
	}
	slices.Sort(wrong.flags)
	return wrong.err()
}

func (g *governance) replay() records.Replay {
	return records.Replay{ID: g.id, By: g.by, Reason: g.reason}
}

// goesOn is the id of the replay that is to go on, empty for a new one.
func (g *governance) goesOn() string {
	if g.flags != nil && g.flags.Changed("replay-id") {
		return g.id
	}
	return ""
}

// wanted: somebody cares who replays and why.
func (g *governance) wanted() bool {
	return g.flags != nil && (g.flags.Changed("replay-id") || g.flags.Changed("by") || g.flags.Changed("reason"))
}

// user is who calls, as far as the environment says: without a user's name there
// is nobody to name.
func (a *app) user() string {
	name := cmp.Or(a.getenv("USER"), a.getenv("LOGNAME"), a.getenv("USERNAME"))
	host, err := os.Hostname()
	if name == "" || err != nil {
		return name
	}
	return name + "@" + host
}
