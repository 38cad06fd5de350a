package apachekafka

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// versionsFolder is the folder below testdata/apachekafka that has one for each
// version but the pinned one, with a pom.
const versionsFolder = "versions"

// RestartVersion is the version of tests that take all brokers of a partition away
// while transactions run. The pinned one, 4.3.1, writes no marker then to a partition
// without a leader, and calls the transaction complete (KAFKA-20734,
// findings/kafka-markers-skipped.sh): what that leaves open is open for ever, and such
// a test finds it now and then. It is to be the pinned one again with the first
// release that writes them.
const RestartVersion = "4.2.1"

// Versions are those that [Config.Version] may name, the oldest first: the
// folders of testdata/apachekafka/versions, and the pinned one.
func Versions() ([]string, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	pinned, err := readDescriptor(root, "")
	if err != nil {
		return nil, err
	}
	all := []string{pinned.version}
	folders, err := os.ReadDir(filepath.Join(root, versionsFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("apache kafka: %w", err)
	}
	for _, f := range folders {
		all = append(all, f.Name())
	}
	parsed := make(map[string]release, len(all))
	for _, version := range all {
		if parsed[version], err = parseRelease(version); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(parsed[a][0], parsed[b][0]), cmp.Compare(parsed[a][1], parsed[b][1]), cmp.Compare(a, b))
	})
	return all, nil
}

// release is major and minor of a version: {3, 9} of 3.9.1, and {0, 11} of 0.11.0.3.
type release [2]int

func parseRelease(version string) (r release, err error) {
	if _, err := fmt.Sscanf(version, "%d.%d.", &r[0], &r[1]); err != nil {
		return r, fmt.Errorf("apache kafka: %q is no version: %w", version, err)
	}
	return r, nil
}

func (r release) before(other release) bool {
	return r[0] < other[0] || r[0] == other[0] && r[1] < other[1]
}

var (
	// firstKRaft is the first that runs without a ZooKeeper in production (KIP-833).
	firstKRaft = release{3, 3}
	// firstStandalone is the first whose controller is made the only voter when its
	// data folder is formatted (KIP-853).
	firstStandalone = release{3, 9}
)

func (r release) zookeeper() bool { return r.before(firstKRaft) }
