// Package schema holds what is on the wire as documents that other languages
// and tools read: JSON Schemas (draft 2020-12) of the request, the outcome and
// the headers of a dead letter, and the topics in AsyncAPI 3. Each stands by
// itself and refers to no other file. They are the same as package events, and
// tests hold them to it; what a schema cannot say of a request is the table of
// exceptions in request_test.go.
//
// Nothing is validated here: give a text to a validator of your own. Each one is
// ASCII and ends with a line break.
package schema

import _ "embed"

var (
	// Request describes the value of a request in plain JSON or binary mode, and
	// the data of one in structured mode. Nothing that it refuses is served as it
	// stands; [github.com/closeorder/closeorder/events.DecodeRequest] also takes
	// layers off that libraries put round a request.
	//
	//go:embed request.schema.json
	Request string

	// Outcome describes the value of an outcome. Other fields are allowed: new
	// ones may come.
	//
	//go:embed outcome.schema.json
	Outcome string

	// DeadLetter describes the headers of a dead letter, as an object of texts.
	// Its value is the request as it came, whatever that was.
	//
	//go:embed dead-letter.schema.json
	DeadLetter string

	// AsyncAPI is an AsyncAPI 3.0 document in YAML: the topics with their default
	// names, their keys, headers and values, seen from closeorder, which receives
	// requests and sends outcomes and dead letters.
	//
	//go:embed asyncapi.yaml
	AsyncAPI string
)
