// Package merchants knows in whose name the gateway may be called: the file of
// merchants and its key files, how they are followed while they change, and
// what a mch_id, an appid and a base URL must look like wherever somebody
// writes one. It knows no gateway and no Kafka.
//
//	file, key files, environment --parse--> []closer.Merchant | Mistakes
package merchants

import "github.com/closeorder/closeorder/closer"

// ByID puts merchants into a map. They are those of a [File], or were checked
// one value at a time, as config does.
func ByID(list []closer.Merchant) closer.MerchantMap {
	set := make(closer.MerchantMap, len(list))
	for _, m := range list {
		set[m.MchID] = m
	}
	return set
}
