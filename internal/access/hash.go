package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// What a hash may cost. The least is what OWASP's cheat sheet on storing passwords
// asks for: bcrypt from cost 10 on; argon2id with 46 MiB once, 19 MiB twice, 12 MiB
// three times, 9 MiB four times or 7 MiB five times. The most keeps one log-in from
// standing in the way of others: about four seconds of one core, and 1 GiB.
const (
	leastCost, mostCost     = 10, 16
	leastMemory, mostMemory = 7 << 10, 1 << 20 // KiB
	leastWork, mostWork     = 35 << 10, 4 << 20
	mostLanes               = 64
)

// Those of [UserLine]: the second choice of RFC 9106, section 4, for where 2 GiB are
// too much.
const (
	ourMemory, ourPasses, ourLanes = 64 << 10, 3, 4
	ourSalt, ourTag                = 16, 32
)

// hash is that of a password, as a file has it.
type hash struct {
	text string // as it stands there
	// bcrypt, where lanes is 0
	memory, passes uint32
	lanes          uint8
	salt, tag      []byte
}

// bcryptText is what htpasswd -B and others write: 22 characters of salt and 31 of hash.
var bcryptText = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)

// argonText is a PHC string. Without v= it is of the version before 1.3.
var argonText = regexp.MustCompile(`^\$argon2id\$(?:v=([0-9]{1,3})\$)?m=([0-9]{1,10}),t=([0-9]{1,10}),p=([0-9]{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)

const (
	remedy     = "closeorder console user NAME writes such a line"
	ofHtpasswd = "htpasswd -B -C 12 writes such a hash"
	ofArgon    = "argon2 SALT -id -e -k 65536 -t 3 -p 4 writes such a hash"
)

// parseHash reads a hash. The error says what is wrong, and shows nothing of it.
func parseHash(s string) (hash, error) {
	h := hash{text: s}
	switch {
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		m := bcryptText.FindStringSubmatch(s)
		if m == nil {
			return h, errors.New("the hash begins as one of bcrypt and is not whole: 60 characters; " + ofHtpasswd)
		}
		switch cost, _ := strconv.Atoi(m[1]); {
		case cost < leastCost:
			return h, fmt.Errorf("the hash of bcrypt has cost %d, which is too fast to try out: %d at least; %s", cost, leastCost, ofHtpasswd)
		case cost > mostCost:
			return h, fmt.Errorf("the hash of bcrypt has cost %d, which takes longer than anybody waits: %d at most; %s", cost, mostCost, ofHtpasswd)
		}
		return h, nil
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon(h)
	case strings.HasPrefix(s, "$argon2i$"), strings.HasPrefix(s, "$argon2d$"):
		return h, errors.New("the hash is of argon2i or argon2d; only argon2id is taken: " + ofArgon)
	}
	return h, errors.New("the hash is neither of bcrypt ($2y$...) nor of argon2id ($argon2id$...): MD5, SHA and passwords as they are are not taken; " + remedy + ", and " + ofHtpasswd)
}

func parseArgon(h hash) (hash, error) {
	m := argonText.FindStringSubmatch(h.text)
	if m == nil {
		return h, errors.New("the hash begins as one of argon2id and is not whole: $argon2id$v=19$m=65536,t=3,p=4$SALT$HASH; " + ofArgon)
	}
	if m[1] != "19" {
		return h, errors.New("the hash of argon2id is of a version before 1.3: $argon2id$v=19$...; " + ofArgon)
	}
	memory, passes, lanes := count(m[2]), count(m[3]), count(m[4])
	var err error
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(m[5]); err != nil {
		return h, errors.New("the salt of the hash is not base64 without padding; " + ofArgon)
	}
	if h.tag, err = base64.RawStdEncoding.Strict().DecodeString(m[6]); err != nil {
		return h, errors.New("the hash of argon2id is not base64 without padding; " + ofArgon)
	}
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("the hash of argon2id "+format+"; "+ofArgon, args...)
	}
	switch {
	case memory > mostMemory:
		return h, wrong("takes %d KiB of memory: %d KiB (1 GiB) at most", memory, mostMemory)
	case memory*passes > mostWork:
		return h, wrong("goes %d times through %d KiB, which takes longer than anybody waits", passes, memory)
	case lanes < 1 || lanes > mostLanes:
		return h, wrong("has p=%d: 1 to %d", lanes, mostLanes)
	case memory < leastMemory || memory*passes < leastWork:
		return h, wrong("goes %d times through %d KiB, which is too fast to try out", passes, memory)
	case len(h.salt) < 8 || len(h.salt) > 64:
		return h, wrong("has a salt of %d bytes: 8 to 64", len(h.salt))
	case len(h.tag) < 16 || len(h.tag) > 64:
		return h, wrong("is %d bytes long: 16 to 64", len(h.tag))
	}
	h.memory, h.passes, h.lanes = uint32(memory), uint32(passes), uint8(lanes) //nolint:gosec // bounded above
	return h, nil
}

// count reads digits of which a regular expression has bounded the number.
func count(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// is reports whether a password is that of the hash. It takes as long for any other.
func (h hash) is(password string) bool {
	if h.lanes == 0 {
		return bcrypt.CompareHashAndPassword([]byte(h.text), []byte(password)) == nil
	}
	tag := argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.tag))) //nolint:gosec // at most 64
	return subtle.ConstantTimeCompare(tag, h.tag) == 1
}

// newHash makes a hash of a password.
func newHash(password string) string {
	salt := make([]byte, ourSalt)
	_, _ = rand.Read(salt) // it never fails
	tag := argon2.IDKey([]byte(password), salt, ourPasses, ourMemory, ourLanes, ourTag)
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, ourMemory, ourPasses, ourLanes, b.EncodeToString(salt), b.EncodeToString(tag))
}
