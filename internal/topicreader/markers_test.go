package topicreader

import (
	"testing"

	"github.com/segmentio/kafka-go/protocol"
)

func TestBatchesWithNothingInThemArePassed(t *testing.T) {
	none := protocol.NewRecordReader()
	for _, tt := range []struct {
		what string
		from protocol.RecordReader
		want int64
	}{
		{"nothing came: ask again", none, 10},
		{"an empty stream: ask again", &protocol.RecordStream{}, 10},
		{"a marker at the offset", &protocol.RecordStream{Records: []protocol.RecordReader{&protocol.ControlBatch{BaseOffset: 10}}}, 11},
		{"a compacted batch that began before it", &protocol.RecordStream{Records: []protocol.RecordReader{&protocol.RecordBatch{BaseOffset: 4, Records: none}}}, 11},
		{"several", &protocol.RecordStream{Records: []protocol.RecordReader{
			&protocol.RecordBatch{BaseOffset: 4, Records: none}, &protocol.ControlBatch{BaseOffset: 15},
		}}, 16},
	} {
		if got := pastMarkers(tt.from, 10); got != tt.want {
			t.Errorf("%s: go on at %d, want %d", tt.what, got, tt.want)
		}
	}
}
