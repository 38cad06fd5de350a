package chart

import (
	"slices"
	"strconv"
	"strings"

	"github.com/closeorder/closeorder/internal/config"
)

// Derived are the settings that follow from other values: one id for all pods
// would have them fence each other, and probes must know the port.
var Derived = map[string]string{
	"kafka.instance_id": "mode",
	"admin_addr":        "port",
}

// Settings are those of a worker: the chart deploys no console.
func Settings() []config.Setting { return config.Settings(config.Everything()...) }

// SettingsSchema is the schema of values.config: every setting of a worker by
// its name. What it does not say of a value the program says at its start.
func SettingsSchema() map[string]any {
	root := group("the settings of closeorder, by the names of its file; each a value, or {secretKeyRef: {name, key}} or {configMapKeyRef: {name, key}}; kafka.instance_id follows from mode, admin_addr from port")
	for _, s := range Settings() {
		if Derived[s.Name] != "" {
			continue
		}
		at := root
		names := strings.Split(s.Name, ".")
		for _, name := range names[:len(names)-1] {
			properties := at["properties"].(map[string]any)
			if properties[name] == nil {
				properties[name] = group("")
			}
			at = properties[name].(map[string]any)
		}
		at["properties"].(map[string]any)[names[len(names)-1]] = settingSchema(s)
	}
	return root
}

func group(description string) map[string]any {
	g := map[string]any{"type": "object", "additionalProperties": false, "properties": map[string]any{}}
	if description != "" {
		g["description"] = description
	}
	return g
}

func settingSchema(s config.Setting) map[string]any {
	reference := map[string]any{"$ref": "#/$defs/reference"}
	out := map[string]any{"description": s.What}
	if s.Secret {
		// What stands in values stands in a ConfigMap.
		out["anyOf"] = []any{reference}
		return out
	}
	if s.Default != "" {
		out["default"] = s.Default
	}
	text := map[string]any{"type": "string"}
	choices := []any{text, reference}
	switch {
	case slices.Contains([]string{"true", "false"}, s.Default):
		choices = []any{map[string]any{"type": "boolean"}, text, reference}
	case IsList(s):
		choices = []any{map[string]any{"type": "array", "items": text}, text, reference}
	case isNumber(s.Default):
		choices = []any{map[string]any{"type": "number"}, text, reference}
	}
	out["anyOf"] = choices
	return out
}

// IsList reports whether a setting takes several values.
func IsList(s config.Setting) bool { return strings.Contains(s.What, "comma-separated") }

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// Reference is what stands in the place of a value that is not in the values.
func Reference() map[string]any {
	key := map[string]any{
		"type": "object", "additionalProperties": false, "required": []any{"name", "key"},
		"properties": map[string]any{"name": map[string]any{"type": "string", "minLength": 1}, "key": map[string]any{"type": "string", "minLength": 1}},
	}
	return map[string]any{
		"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
		"properties": map[string]any{"secretKeyRef": key, "configMapKeyRef": key},
	}
}
