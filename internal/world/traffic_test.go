package world

import (
	"bytes"
	"testing"
)

// The same traffic in transactions is the same records: what aborts adds is that
// some of them never were.
func TestTrafficInTransactions(t *testing.T) {
	plain := Traffic{Seed: 7, Requests: 2000, Copies: .05}
	some := plain
	some.Transactions, some.Aborts = .5, .4
	all, again := plain.Publications(), some.Publications()
	if len(all) != len(again) {
		t.Fatalf("%d records, and %d in transactions", len(all), len(again))
	}
	in, aborted := 0, 0
	for i, p := range again {
		if !bytes.Equal(p.Value, all[i].Value) || p.After != all[i].After {
			t.Fatalf("record %d is another one", i)
		}
		if p.Transaction == 0 && p.Aborted {
			t.Errorf("record %d is aborted in no transaction", i)
		}
		if p.Transaction > 0 {
			in++
			if p.Aborted {
				aborted++
			}
			if before := again[max(i-1, 0)]; before.Transaction == p.Transaction && before.Aborted != p.Aborted {
				t.Errorf("transaction %d is committed and aborted", p.Transaction)
			} else if before.Transaction > p.Transaction {
				t.Errorf("transaction %d comes after %d", p.Transaction, before.Transaction)
			}
		}
	}
	if in < 800 || in > 1300 || aborted < in/4 || aborted > in*11/20 {
		t.Errorf("of %d records %d are in transactions and %d of them aborted", len(again), in, aborted)
	}
}
