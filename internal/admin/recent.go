package admin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	mostRecent = 20  // lines that are kept
	mostText   = 500 // characters of what a line says beside its message
)

// Line is a warning or an error of the log, with its repeats.
type Line struct {
	// First and Last are when it was said: the same, where it was said once.
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Level   string    `json:"level"`
	Message string    `json:"message"`
	// Fields are those of the last time, as name=value.
	Fields string `json:"fields,omitempty"`
	Count  int    `json:"count"`
}

// Recent keeps the last warnings and errors of a log: it is a hook of logrus. The
// zero value is ready. It is safe for concurrent use.
type Recent struct {
	mu    sync.Mutex
	lines []Line // in the order in which they were said last
}

// Levels implements logrus.Hook.
func (r *Recent) Levels() []logrus.Level {
	return []logrus.Level{logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel, logrus.WarnLevel}
}

// Fire implements logrus.Hook.
func (r *Recent) Fire(e *logrus.Entry) error {
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(e.Data)) {
		fields = append(fields, fmt.Sprintf("%s=%v", name, e.Data[name]))
	}
	line := Line{First: e.Time, Last: e.Time, Level: e.Level.String(), Message: short(e.Message), Fields: short(strings.Join(fields, " ")), Count: 1}
	r.mu.Lock()
	defer r.mu.Unlock()
	same := slices.IndexFunc(r.lines, func(l Line) bool { return l.Level == line.Level && l.Message == line.Message })
	if same >= 0 {
		line.First, line.Count = r.lines[same].First, r.lines[same].Count+1
		r.lines = slices.Delete(r.lines, same, same+1)
	} else if len(r.lines) == mostRecent {
		r.lines = slices.Delete(r.lines, 0, 1)
	}
	r.lines = append(r.lines, line)
	return nil
}

// Lines returns them, the last one first.
func (r *Recent) Lines() []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := append([]Line{}, r.lines...)
	slices.SortStableFunc(all, func(a, b Line) int { return b.Last.Compare(a.Last) })
	return all
}

// short is a text of at most mostText characters.
func short(s string) string {
	if all := []rune(s); len(all) > mostText {
		return string(all[:mostText-1]) + "…"
	}
	return s
}
