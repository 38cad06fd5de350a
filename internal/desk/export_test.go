package desk

import "time"

// Impatient has a desk say soon that Kafka is away. It is called before Run.
func (d *Desk) Impatient() { d.patience, d.silence = time.Second, 100*time.Millisecond }

// KeepEntries sets how many entries of the log are kept of each kind.
func (d *Desk) KeepEntries(n int) { d.entries = n }

// MostEntries is how many are.
const MostEntries = mostEntries
