package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/closeorder/closeorder/internal/slips"
)

const (
	// mostFile is what is read of a file of users, in bytes.
	mostFile = 1 << 20
	// mostName is how long a user's name may be, in bytes.
	mostName = 100
	// leastPassword and mostPassword are how many characters and bytes a password
	// has. NIST SP 800-63B-4, 3.1.1.2: 15 characters where it is the only factor,
	// as here; no rules of what must be in it.
	leastPassword, mostPassword = 15, 1024
)

// user is a line of the file.
type user struct {
	name string
	role Role
	hash hash
	line int
}

// users are those of a file: by their names, and in its order.
type users struct {
	by   map[string]user
	list []user
}

// Mistakes are all that is wrong with a file of users, each with its line. They show
// no hash, and nothing that could be a password.
type Mistakes []string

func (ms Mistakes) Error() string { return strings.Join(ms, "\n") }

// parseUsers reads a file of users, a line each:
//
//	# who is on call
//	li.na:$argon2id$v=19$m=65536,t=3,p=4$...$...:operator
//	wang.wei:$2y$12$...
//
// NAME, the hash of the password, and the role: viewer where there is none. A name is
// at most 100 bytes that can be seen, without colons. Hashes are of bcrypt ($2a$,
// $2b$, $2y$; cost 10 to 16), as htpasswd -B -C 12 writes them, or argon2id as PHC
// strings, as argon2 SALT -id -e -k 65536 -t 3 -p 4 does; without those options both
// are too fast to try out. Empty lines and those that begin with # count for nothing.
//
// The error is of type [Mistakes], and names every mistake with its line.
func parseUsers(data []byte) (users, error) {
	all := users{by: map[string]user{}}
	var mistakes Mistakes
	n := 0
	wrong := func(format string, args ...any) {
		mistakes = append(mistakes, fmt.Sprintf("line %d: ", n)+fmt.Sprintf(format, args...))
	}
	if !utf8.Valid(data) {
		return users{}, Mistakes{"it is not text in UTF-8; " + remedy}
	}
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, ok := strings.Cut(line, ":")
		text, role, hasRole := strings.Cut(rest, ":")
		u := user{name: strings.TrimSpace(name), line: n}
		if !ok {
			wrong("it is not NAME:HASH or NAME:HASH:ROLE; %s", remedy)
			continue
		}
		var err error
		if u.hash, err = parseHash(strings.TrimSpace(text)); err != nil {
			// What stands before the colon may be the password: nothing of it is shown.
			wrong("%v", err)
			continue
		}
		before := len(mistakes)
		if problem := nameProblem(u.name); problem != "" {
			wrong("the name %s", problem)
		}
		u.role = Viewer
		if hasRole {
			if u.role, err = ParseRole(role); err != nil {
				wrong("%v", err)
			}
		}
		if first, twice := all.by[u.name]; twice {
			wrong("%s stands in line %d already; leave one of them out", u.name, first.line)
		}
		if len(mistakes) == before {
			all.by[u.name] = u
			all.list = append(all.list, u)
		}
	}
	if len(mistakes) == 0 && len(all.list) == 0 {
		mistakes = Mistakes{"it names nobody, so that nobody could log in; " + remedy}
	}
	if len(mistakes) > 0 {
		return users{}, mistakes
	}
	return all, nil
}

// ParseRole reads a role.
func ParseRole(s string) (Role, error) {
	switch r := Role(strings.TrimSpace(s)); r {
	case Viewer, Operator:
		return r, nil
	}
	hint := ""
	if near := slips.Near(s, []string{string(Viewer), string(Operator)}, 3); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return "", errors.New("the role is neither viewer nor operator" + hint)
}

// nameProblem says what is wrong with the name of a user, empty for nothing. Names
// stand in logs, in pages and behind what was done: one must look like itself.
func nameProblem(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > mostName:
		return fmt.Sprintf("is longer than %d bytes", mostName)
	case !utf8.ValidString(name):
		return "is not text in UTF-8"
	case strings.TrimSpace(name) != name:
		return "has a blank at an end"
	case strings.Contains(name, ":"):
		return "has a colon in it"
	case strings.HasPrefix(name, "#"):
		return "begins with a #, as comments do"
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has signs in it that cannot be seen"
	}
	return ""
}

// CheckName says what is wrong with a user's name.
func CheckName(name string) error {
	if problem := nameProblem(name); problem != "" {
		return errors.New("the name " + problem)
	}
	return nil
}

// CheckPassword says what is wrong with a password that somebody chooses. Nothing is
// asked of what is in it (NIST SP 800-63B-4, 3.1.1.2).
func CheckPassword(name, password string) error {
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return errors.New("the password is not text in UTF-8")
	case n < leastPassword:
		return fmt.Errorf("the password has %d characters: %d at least, such as four or five words", n, leastPassword)
	case len(password) > mostPassword:
		return fmt.Errorf("the password is longer than %d bytes", mostPassword)
	case strings.ContainsAny(password, "\x00\r\n"):
		return errors.New("the password has a line break in it, which no form can send")
	case len(distinct(password)) < 5:
		return errors.New("the password is made of a few characters again and again")
	case name != "" && strings.Contains(strings.ToLower(password), strings.ToLower(name)) && n-utf8.RuneCountInString(name) < 8:
		return errors.New("the password is little more than the name")
	}
	return nil
}

func distinct(s string) []rune {
	all := []rune(s)
	slices.Sort(all)
	return slices.Compact(all)
}

// UserLine makes the line of a user for the file, with the password hashed by
// argon2id: 64 MiB, three passes, four lanes. It does not ask much of the password;
// [CheckPassword] does.
func UserLine(name string, role Role, password string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	if _, err := ParseRole(string(role)); err != nil {
		return "", err
	}
	if password == "" || len(password) > mostPassword {
		return "", fmt.Errorf("the password is empty, or longer than %d bytes", mostPassword)
	}
	return name + ":" + newHash(password) + ":" + string(role), nil
}
