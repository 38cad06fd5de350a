package deadletters

import "testing"

// No int holds every rate, one of 32 bits not even this one.
func TestAChunkIsATenthOfASecondWhateverTheRate(t *testing.T) {
	for rate, want := range map[float64]int{0: 500, 0.5: 1, 5: 1, 1000: 100, 1e11: 500, 1e300: 500} {
		if got := (Sending{Rate: rate}).chunk(); got != want {
			t.Errorf("rate %g: %d at a time, want %d", rate, got, want)
		}
	}
}
