// Package leftout says of a test that what it needs is not there: on a developer's
// machine it is left out, where nothing may be left out it fails.
package leftout

import (
	"os"
	"slices"
	"testing"
)

// Test leaves the test out, and says why; it does not return. With CI=true, or
// where one of the environment variables in required is 1, it fails instead.
func Test(t testing.TB, why string, required ...string) {
	t.Helper()
	if os.Getenv("CI") == "true" || slices.ContainsFunc(required, func(name string) bool { return os.Getenv(name) == "1" }) {
		t.Fatal(why)
	}
	t.Skip("*** LEFT OUT: " + why)
}
