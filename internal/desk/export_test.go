package desk

// KeepEntries sets how many entries of the log are kept of each kind.
func (d *Desk) KeepEntries(n int) { d.entries = n }

// MostEntries is how many are.
const MostEntries = mostEntries
