package access

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// What other programs have written for this password, with costs as low as they may be.
const (
	password    = "correct horse battery"
	bcrypt2a    = "$2a$10$v54iHdTTgxRwPcngz8seV.tFjIDa1N/yVf92/15srZq7OUuy6rHhO"                                     // Python's bcrypt 5.0
	bcrypt2b    = "$2b$10$YS55hArOHZrD9kejt2EkeeJhD3/y2Z/SaIr06L4.JBeopwwgjPoxO"                                     // the same
	bcrypt2y    = "$2y$10$c9zYvKemWRw1CfwbR1sbXuLW2EHI7avA8BXUJZ09KSlEQoOAcSqCa"                                     // htpasswd -nbB -C 10, of Apache 2.4.71
	argonLow    = "$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHRzYWx0c2FsdA$N9D9+W+zAwaZlb5TQSjckrOq7wZ4WiEGWNGaMEr8FiE" // argon2-cffi 25.1
	argonReal   = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$2UR8wXWk32LxsVEkR6/DoKpmjfjepS12aNUsUEsqGdE"           // argon2 somesalt -id -e -k 65536 -t 3 -p 4
	argonOther  = "$argon2id$v=19$m=7168,t=5,p=2$c29tZXNhbHQ$AQR1co8XX8ywp+M6mLAjnsmK7TgxubIe"                       // of another password, 24 bytes
	otherSecret = "密码 correct horse"
)

func TestHashesOfOtherProgramsAreRead(t *testing.T) {
	for what, tt := range map[string]struct{ text, password, wrong string }{
		"bcrypt of Python, 2a":      {bcrypt2a, password, ""},
		"bcrypt of Python, 2b":      {bcrypt2b, password, ""}, // what is empty is not tried: it takes long
		"bcrypt of htpasswd":        {bcrypt2y, password, password + " "},
		"argon2id with little":      {argonLow, password, password + " "},
		"argon2id of the command":   {argonReal, password, ""},
		"argon2id, a word in hanzi": {argonOther, otherSecret, otherSecret[3:]},
	} {
		h, err := parseHash(tt.text)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if !h.is(tt.password) {
			t.Errorf("%s: the password is refused", what)
		}
		if tt.wrong != "" && h.is(tt.wrong) {
			t.Errorf("%s: a wrong one is taken", what)
		}
	}
}

func TestAFileOfUsers(t *testing.T) {
	for _, tt := range []struct {
		what, file string
		users      string   // name=role
		wrong      []string // what the mistakes begin with, in order
	}{
		{"every kind, with comments, empty lines and blanks", "\ufeff# on call\n\nli.na:" + argonLow + ":operator\r\n  wang.wei:" + bcrypt2a + "  \n张伟@example.com:" + bcrypt2b + ":viewer", "li.na=operator wang.wei=viewer 张伟@example.com=viewer", nil},
		{"nobody", "# nobody yet\n", "", []string{"it names nobody"}},
		{"no text", "li:\xff\n", "", []string{"it is not text in UTF-8"}},
		{"a password alone", "distinctive\n", "", []string{"line 1: it is not NAME:HASH"}},
		{"a password as it is", "li:distinctive\n", "", []string{"line 1: the hash is neither of bcrypt"}},
		{"password and name the wrong way round", "distinctive:li\n", "", []string{"line 1: the hash is neither"}},
		{"htpasswd without -B", "li:$apr1$wb37az6n$PHhQuWngoCRPI2LqRoUqW1\nwei:{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=\nan:gHZRsXbL4BhJc\ntao:$5$wqJ1uUlD/5QIHrg6$G8af2R58xcywfxFF4iT3JUMpk5aCE/sirY/TR64.kv4\n", "",
			[]string{"line 1: the hash is neither", "line 2: the hash is neither", "line 3: the hash is neither", "line 4: the hash is neither"}},
		{"htpasswd -B, whose cost is 5", "li:$2y$05$ki4g9TSiJnmnsIKhDII29OOGToicEmQ6UOw47IFR13n9gm2iTc27O\n", "", []string{"line 1: the hash of bcrypt has cost 5, which is too fast to try out: 10 at least; htpasswd -B -C 12"}},
		{"a cost that takes minutes", "li:" + strings.Replace(bcrypt2a, "$10$", "$20$", 1) + "\n", "", []string{"line 1: the hash of bcrypt has cost 20"}},
		{"half a hash of bcrypt", "li:" + bcrypt2a[:40] + "\n", "", []string{"line 1: the hash begins as one of bcrypt and is not whole"}},
		{"the bcrypt with the fault", "li:" + strings.Replace(bcrypt2a, "$2a$", "$2x$", 1) + "\n", "", []string{"line 1: the hash is neither"}},
		{"argon2 -e, which is argon2i", "li:$argon2i$v=19$m=4096,t=3,p=1$c29tZXNhbHQ$PmyYB4+P3RaeN7NBNCrLSkqEvVR6I0Ig0MBMMjSlojI\n", "", []string{"line 1: the hash is of argon2i or argon2d; only argon2id is taken: argon2 SALT -id -e"}},
		{"argon2 -id -e with 4 MiB", "li:$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ$M6a/QezfBPNIsnz8vl8tREnOEpE1YFai6eS6yuJcySQ\n", "", []string{"line 1: the hash of argon2id goes 3 times through 4096 KiB, which is too fast"}},
		{"7 MiB, but once", "li:" + strings.Replace(argonLow, "t=5", "t=4", 1) + "\n", "", []string{"line 1: the hash of argon2id goes 4 times through 7168 KiB, which is too fast"}},
		{"memory beyond sense", "li:" + strings.Replace(argonLow, "m=7168", "m=4294967295", 1) + "\n", "", []string{"line 1: the hash of argon2id takes 4294967295 KiB of memory"}},
		{"time beyond sense", "li:" + strings.Replace(argonLow, "t=5", "t=4000000000", 1) + "\n", "", []string{"line 1: the hash of argon2id goes 4000000000 times"}},
		{"no lanes", "li:" + strings.Replace(argonLow, "p=1", "p=0", 1) + "\n", "", []string{"line 1: the hash of argon2id has p=0"}},
		{"no version", "li:" + strings.Replace(argonLow, "v=19$", "", 1) + "\n", "", []string{"line 1: the hash of argon2id is of a version before 1.3"}},
		{"padding", "li:" + argonLow + "=\n", "", []string{"line 1: the hash begins as one of argon2id and is not whole"}},
		{"too little salt", "li:" + strings.Replace(argonLow, "c2FsdHNhbHRzYWx0c2FsdA", "c2Fs", 1) + "\n", "", []string{"line 1: the hash of argon2id has a salt of 3 bytes"}},
		{"too short", "li:" + argonLow[:strings.LastIndex(argonLow, "$")] + "$c2Fs\n", "", []string{"line 1: the hash of argon2id is 3 bytes long"}},
		{"roles of another spelling", "li:" + argonLow + ":Operator\nwei:" + argonLow + ":admin\nan:" + argonLow + ":\n", "",
			[]string{"line 1: the role is neither viewer nor operator; did you mean operator?", "line 2: the role is neither", "line 3: the role is neither"}},
		{"somebody twice", "li:" + argonLow + "\nwei:" + argonLow + "\nli:" + bcrypt2a + "\n", "", []string{"line 3: li stands in line 1 already"}},
		{"names that do not look like themselves", ":" + argonLow + "\nli\u202ena:" + argonLow + "\nl\x00i:" + argonLow + "\n" + strings.Repeat("n", 101) + ":" + argonLow + "\n", "",
			[]string{"line 1: the name is empty", "line 2: the name has signs in it", "line 3: the name has signs", "line 4: the name is longer than 100 bytes"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			all, err := parseUsers([]byte(tt.file))
			var got []string
			for _, u := range all.list {
				got = append(got, u.name+"="+string(u.role))
			}
			if strings.Join(got, " ") != tt.users {
				t.Errorf("users are %q, want %q", got, tt.users)
			}
			mistakes, _ := errors.AsType[Mistakes](err)
			if len(mistakes) != len(tt.wrong) {
				t.Fatalf("mistakes are\n%v", err)
			}
			for i, want := range tt.wrong {
				if !strings.HasPrefix(mistakes[i], want) {
					t.Errorf("%q, want %q", mistakes[i], want)
				}
			}
			for _, secret := range []string{"distinctive", "wb37az6n", "EfatjsUqK", "gHZRsXbL4BhJc", "wqJ1uUlD", "v54iHdTT", "ki4g9TSi", "N9D9", "PmyYB4"} {
				if strings.Contains(fmt.Sprint(err), secret) {
					t.Errorf("the message shows %q:\n%v", secret, err)
				}
			}
		})
	}
}

// FuzzUsers holds what is true of every file: either its mistakes are told, without
// a hash in them, or its users could log in.
func FuzzUsers(f *testing.F) {
	for _, seed := range []string{
		"li:" + argonLow + ":operator\nwei:" + bcrypt2a + "\n", "li:$2y$05$" + bcrypt2a[7:], "li:$argon2id$v=19$m=1,t=1,p=1$c2FsdHNhbHQ$", "a:b:c:d\n#\n\ufeff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parseUsers(data)
		if (err == nil) != (len(all.list) > 0) || len(all.list) != len(all.by) {
			t.Fatalf("%d users, %d names, %v", len(all.list), len(all.by), err)
		}
		if err != nil {
			if !utf8.ValidString(err.Error()) {
				t.Errorf("the mistakes are no text: %q", err)
			}
			for line := range strings.Lines(string(data)) {
				_, hash, _ := strings.Cut(strings.TrimSpace(line), ":")
				if i := strings.LastIndexByte(hash, '$'); i >= 0 && len(hash)-i > 24 && strings.Contains(err.Error(), hash[i+1:i+25]) {
					t.Errorf("the mistakes show a hash: %v", err)
				}
			}
		}
		for _, u := range all.list {
			again, err := parseUsers([]byte(u.name + ":" + u.hash.text + ":" + string(u.role)))
			if err != nil || len(again.list) != 1 || again.list[0].name != u.name || again.list[0].role != u.role {
				t.Errorf("%q is read otherwise alone: %v", u.name, err)
			}
			if h := u.hash; h.lanes > 0 && (h.memory > mostMemory || int64(h.memory)*int64(h.passes) > mostWork) {
				t.Errorf("a hash takes %d KiB, %d times", h.memory, h.passes)
			}
		}
	})
}

func TestALineThatIsMadeLetsItsUserIn(t *testing.T) {
	line, err := UserLine("li.na", Operator, password)
	if err != nil {
		t.Fatal(err)
	}
	other, err := UserLine("wei", Viewer, password)
	if err != nil || strings.Split(line, "$")[4] == strings.Split(other, "$")[4] {
		t.Errorf("two hashes have one salt, or %v", err)
	}
	all, err := parseUsers([]byte(line + "\n" + other + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if u := all.by["li.na"]; u.role != Operator || !u.hash.is(password) || u.hash.memory != 64<<10 {
		t.Errorf("%s is read as %+v", line, u)
	}
	for what, try := range map[string]struct {
		name string
		role Role
		pass string
	}{
		"a colon":     {"li:na", Viewer, password},
		"no name":     {"", Viewer, password},
		"no role":     {"li", "", password},
		"a comment":   {"#li", Viewer, password},
		"no password": {"li", Viewer, ""},
		"a long one":  {"li", Viewer, strings.Repeat("x", 1025)},
	} {
		if line, err := UserLine(try.name, try.role, try.pass); err == nil {
			t.Errorf("%s: %s", what, line)
		}
	}
}

func TestPasswordsThatAreNotTaken(t *testing.T) {
	for _, tt := range []struct{ name, password, want string }{
		{"li", password, ""},
		{"li", "四个或者五个词语的一句话就可以了吧", ""},
		{"li", strings.Repeat("correct horse ", 73), ""},
		{"li", "tr0ub4dor&3", "has 11 characters: 15 at least"},
		{"li", strings.Repeat("correct horse ", 74), "longer than 1024 bytes"},
		{"li", "aaaaaaaaaaaaaaaab", "a few characters again and again"},
		{"li.na@example.com", "li.na@example.com1", "little more than the name"},
		{"li", "correct horse\nbattery", "line break"},
		{"li", "correct horse \xff battery", "UTF-8"},
	} {
		err := CheckPassword(tt.name, tt.password)
		if (err == nil) != (tt.want == "") || !strings.Contains(fmt.Sprint(err), tt.want) || strings.Contains(fmt.Sprint(err), "tr0ub") {
			t.Errorf("%q: %v, want %q", tt.password, err, tt.want)
		}
	}
}
