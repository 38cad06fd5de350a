package consumer

// Buffered is what the worker holds of records, and may hold; nothing before Run
// has begun.
func (w *Worker) Buffered() (held, most int64) {
	if client := w.renewed.Load(); client != nil {
		return client.Buffered()
	}
	return 0, 0
}

// OpenCost is what a request that is open is taken to need beside its record.
const OpenCost = openCost
