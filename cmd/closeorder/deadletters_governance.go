package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
)

// governance is the flags that say which replay it is, who began it and why.
type governance struct {
	id, by, reason string
	flags          *pflag.FlagSet
}

func (g *governance) add(flags *pflag.FlagSet, a *app) {
	g.flags = flags
	g.id = newReplayID(time.Now())
	flags.StringVar(&g.id, "replay-id", g.id, "`ID` of the replay, a new one unless given: that of one that was stopped goes on with it")
	flags.StringVar(&g.by, "by", a.user(), "`WHO` replays, for the records and the log; USER@HOST unless given, empty: nobody")
	flags.StringVar(&g.reason, "reason", "", "`WHY`, for the records and the log")
	// They differ from call to call: the text has said it.
	flags.Lookup("replay-id").DefValue, flags.Lookup("by").DefValue = "", ""
}

// check is a usage error for what cannot stand in a header.
func (g *governance) check() error {
	var wrong misuse
	wrong.must(g.id != "", "--replay-id is empty; leave it out for a new one")
	for flag, says := range map[string]records.Replay{"--replay-id": {ID: g.id}, "--by": {By: g.by}, "--reason": {Reason: g.reason}} {
		if err := says.Check(); err != nil {
			wrong.addf("%s: %v", flag, err)
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

// newReplayID is an id that sorts by its time.
func newReplayID(now time.Time) string {
	return now.UTC().Format("20060102T150405Z") + "-" + strings.ToLower(rand.Text()[:8])
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

// tell writes a line of the log, with the replay's own words, for those who have
// given one of them.
func (r *replay) tell(what string, fields logrus.Fields) {
	g := &r.options.governance
	if !g.wanted() {
		return
	}
	log := r.log.WithFields(fields).WithField("replay_id", g.id)
	if g.by != "" {
		log = log.WithField("by", g.by)
	}
	if g.reason != "" {
		log = log.WithField("reason", g.reason)
	}
	log.Info(what)
}

var errNoOutcomes = errors.New("the outcomes cannot be watched any more, so nothing more is sent")
