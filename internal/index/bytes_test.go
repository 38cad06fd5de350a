//go:build !race

package index_test

import "testing"

// TestTheBytesOfARequest bounds what an index takes on disk: a million requests in less
// than 1 GiB, with room to spare.
func TestTheBytesOfARequest(t *testing.T) {
	const requests, most = 20_000, 600
	s := newShelf(t)
	s.fill(requests)
	x := s.opened(t.TempDir())
	turn(t, x)
	p, err := x.Progress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p.Requests != requests || p.Bytes < 100*requests || p.Bytes > most*requests {
		t.Errorf("%d requests take %d bytes, %d each; at most %d are allowed", p.Requests, p.Bytes, p.Bytes/requests, most)
	}
	t.Logf("%d bytes for each request", p.Bytes/requests)
	if found, err := x.Search(t.Context(), numberOf(7), 5); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
}
