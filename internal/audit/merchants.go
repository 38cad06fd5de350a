package audit

import "strings"

// mostMerchants is how many merchants are told apart: memory must not grow with
// what producers write for an mch_id.
const mostMerchants = 10_000

// merchants numbers merchants by mch_id. Number 0 is of those that are not told
// apart, or that no request names.
type merchants struct {
	numbers map[string]uint32
	names   []string
}

func newMerchants() *merchants {
	return &merchants{numbers: map[string]uint32{"": 0}, names: []string{""}}
}

func (m *merchants) number(mchID string) uint32 {
	n, known := m.numbers[mchID]
	if !known && len(m.names) <= mostMerchants {
		n, mchID = uint32(len(m.names)), strings.Clone(mchID)
		m.numbers[mchID], m.names = n, append(m.names, mchID)
	}
	return n
}

func (m *merchants) name(number uint32) string { return m.names[number] }
