// Package plots draws small plots as SVG for pages: without a script, a style of
// its own or a colour, which the page's style sheet gives to classes. Each has a
// title and a description in words.
package plots
