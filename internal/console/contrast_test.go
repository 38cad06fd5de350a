package console

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Text must be readable for those who see little: WCAG 2.1, 1.4.3 and 1.4.11. What is
// a text and on what it stands is in the style sheet.
func TestTextsStandOutFromWhatIsBehindThem(t *testing.T) {
	css, err := os.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	roots := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(string(css), -1)
	if len(roots) != 3 {
		t.Fatalf("%d sets of colours were found, want those of light, dark and print", len(roots))
	}
	for i, name := range []string{"light", "dark", "print"} {
		colours := make(map[string]string)
		for _, m := range regexp.MustCompile(`--([\w-]+): #([0-9a-f]{3,6});`).FindAllStringSubmatch(roots[i][1], -1) {
			colours[m[1]] = m[2]
		}
		for back, texts := range map[string]string{
			"back":      "text faint link bad warn good paid other",
			"soft":      "text faint link bad warn good paid",
			"bad-soft":  "text faint link bad",
			"warn-soft": "text faint link warn",
			"good-soft": "text faint link good",
			"paid-soft": "paid",
			"link":      "back", // of a button
		} {
			for text := range strings.FieldsSeq(texts) {
				if got := contrast(t, colours[text], colours[back]); got < 4.5 {
					t.Errorf("%s: %s on %s has a contrast of %.2f, want 4.5", name, text, back, got)
				}
			}
		}
		if got := contrast(t, colours["edge"], colours["back"]); got < 3 { // of controls
			t.Errorf("%s: edge on back has a contrast of %.2f, want 3", name, got)
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	if len(colour) == 3 {
		colour = strings.Join([]string{colour[:1], colour[:1], colour[1:2], colour[1:2], colour[2:], colour[2:]}, "")
	}
	n, err := strconv.ParseUint(colour, 16, 32)
	if err != nil || len(colour) != 6 {
		t.Fatalf("%q is no colour", colour)
	}
	sum := 0.0
	for i, share := range []float64{0.0722, 0.7152, 0.2126} { // blue, green, red
		c := float64(n>>(8*i)&0xff) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += share * c
	}
	return sum
}
