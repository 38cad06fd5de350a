package consumer

import "time"

// State is what the worker does at this moment. Before Run it says so. Safe for
// concurrent use, also while Run is stuck: what is asked then may take as long as
// that lasts.
func (w *Worker) State() State {
	return State{At: time.Now(), Started: w.made, Group: w.cfg.Group}
}
