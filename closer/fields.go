package closer

import "github.com/closeorder/closeorder/signing"

// fields are those of one document in its order, each name once. There are so
// few of them that looking at one after the other is quicker than a map.
type fields []signing.Field

// get returns the value of a field, "" where there is none.
func (f fields) get(name string) string {
	for i := range f {
		if f[i].Name == name {
			return f[i].Value
		}
	}
	return ""
}
