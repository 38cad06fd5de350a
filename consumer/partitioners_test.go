package consumer

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// goldenKeys is testdata/consumer/partitioners.json: where real clients put
// keys. Whoever speaks another language can run it too.
func goldenKeys(t *testing.T) (counts []int, keys []map[string]any) {
	t.Helper()
	raw, err := os.ReadFile("../testdata/consumer/partitioners.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Counts []int            `json:"counts"`
		Keys   []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Counts) == 0 || len(file.Keys) == 0 {
		t.Fatal("the file holds no vector")
	}
	return file.Counts, file.Keys
}

func TestPartitionersPutKeysWhereRealClientsDo(t *testing.T) {
	counts, keys := goldenKeys(t)
	rules := map[string]*partitioner{
		"murmur2": partitioners[0], "crc32": partitioners[1], "fnv1a": partitioners[2], "fnv1a_reference": partitioners[3],
		"fnv1a_unsigned": partitioners[4], "murmur2_unsigned": partitioners[5], "kafkajs_legacy": partitioners[6],
	}
	if len(rules) != len(partitioners) {
		t.Fatalf("%d of %d partitioners have vectors", len(rules), len(partitioners))
	}
	for _, k := range keys {
		key, err := hex.DecodeString(k["key"].(string))
		if err != nil {
			t.Fatal(err)
		}
		h := hashesOf(key)
		for name, p := range rules {
			want, _ := k[name].([]any)
			if len(want) != len(counts) {
				t.Fatalf("key %x has no vector of %s", key, name)
			}
			for i, n := range counts {
				if got := p.place(&h, n); fmt.Sprint(got) != fmt.Sprint(want[i]) {
					t.Errorf("%s puts key %x of %d partitions into %d, its clients into %v", p.name, key, n, got, want[i])
				}
			}
		}
	}
}
