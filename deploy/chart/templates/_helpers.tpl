{{- define "closeorder.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52: a StatefulSet's pods carry a hash of 11 in a label of 63.
No dot: a release may have one in its name, and a Service may not. */}}
{{- define "closeorder.fullname" -}}
{{- $name := include "closeorder.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "closeorder.selector" -}}
app.kubernetes.io/name: {{ include "closeorder.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "closeorder.labels" -}}
app.kubernetes.io/name: {{ include "closeorder.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ include "closeorder.tag" . | trunc 63 | trimSuffix "-" | trimSuffix "." | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "closeorder.tag" -}}
{{- .Values.image.tag | default .Chart.AppVersion -}}
{{- end -}}

{{- define "closeorder.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (include "closeorder.tag" .) -}}
{{- end -}}
{{- end -}}

{{- define "closeorder.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "closeorder.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Whole seconds of a duration in Go's spelling, rounded down. */}}
{{- define "closeorder.seconds" -}}
{{- $from := toDate "2006-01-02" "2000-01-01" -}}
{{- sub (mustDateModify . $from | unixEpoch | int64) ($from | unixEpoch | int64) -}}
{{- end -}}

{{/* Bytes of a quantity of Kubernetes, such as 128Mi, or of a size of closeorder, such as 4MiB. */}}
{{- define "closeorder.bytes" -}}
{{- $text := "" -}}
{{- if kindIs "string" . }}{{ $text = . }}{{ else }}{{ $text = int64 . | toString }}{{ end -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?" $text -}}
{{- $unit := trimPrefix $number $text | trim | lower | trimSuffix "b" -}}
{{- $units := dict "" 1 "ki" 1024 "mi" 1048576 "gi" 1073741824 "ti" 1099511627776 "k" 1000 "m" 1000000 "g" 1000000000 "t" 1000000000000 -}}
{{- if or (eq $number "") (not (hasKey $units $unit)) (hasSuffix "m" $text) -}}
{{- fail (printf "resources.limits.memory or config.max_buffered: %q is no number of bytes; write for example 128Mi or 4MiB" $text) -}}
{{- end -}}
{{- mulf (float64 $number) (get $units $unit) | int64 -}}
{{- end -}}

{{/*
What becomes of values.config, as JSON: config, the settings as they stand in the
file; env, those from a Secret or ConfigMap that are no files; volumes and mounts.
A setting whose name ends with _file is mounted, and its whole Secret or ConfigMap
with it, so that what belongs together lies together and changes are seen.
*/}}
{{- define "closeorder.settings" -}}
{{- $all := dict "config" (deepCopy .Values.config) "env" (list) "sources" (dict) -}}
{{- include "closeorder.walk" (dict "at" $all.config "path" (list) "all" $all) -}}
{{- $volumes := list -}}
{{- $mounts := list -}}
{{- range $where, $source := $all.sources -}}
{{- $volumes = append $volumes $source.volume -}}
{{- $mounts = append $mounts (dict "name" $source.volume.name "mountPath" $where "readOnly" true) -}}
{{- end -}}
{{- $_ := set $all.config "admin_addr" (printf ":%d" (int .Values.port)) -}}
{{- dict "config" $all.config "env" $all.env "volumes" $volumes "mounts" $mounts | toJson -}}
{{- end -}}

{{- define "closeorder.walk" -}}
{{- $all := .all -}}
{{- $at := .at -}}
{{- range $name, $value := .at -}}
{{- $path := append $.path $name -}}
{{- if kindIs "map" $value -}}
{{- if or (hasKey $value "secretKeyRef") (hasKey $value "configMapKeyRef") -}}
{{- if hasSuffix "_file" $name -}}
{{- $kind := hasKey $value "secretKeyRef" | ternary "secret" "configmap" -}}
{{- $ref := $value.secretKeyRef | default $value.configMapKeyRef -}}
{{- $where := printf "/etc/closeorder/%s/%s" $kind $ref.name -}}
{{- $volume := dict "name" (printf "%s-%s" $kind (sha256sum $ref.name | trunc 8)) -}}
{{- if eq $kind "secret" -}}
{{- $_ := set $volume "secret" (dict "secretName" $ref.name "defaultMode" 288) -}}
{{- else -}}
{{- $_ := set $volume "configMap" (dict "name" $ref.name "defaultMode" 288) -}}
{{- end -}}
{{- $_ := set $all.sources $where (dict "volume" $volume) -}}
{{- $_ := set $at $name (printf "%s/%s" $where $ref.key) -}}
{{- else -}}
{{- $variable := printf "CLOSEORDER_%s" (join "_" $path | upper) -}}
{{- $_ := set $all "env" (append $all.env (dict "name" $variable "valueFrom" $value)) -}}
{{- $_ := unset $at $name -}}
{{- end -}}
{{- else -}}
{{- include "closeorder.walk" (dict "at" $value "path" $path "all" $all) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The file of settings. */}}
{{- define "closeorder.file" -}}
{{- $settings := include "closeorder.settings" . | fromJson -}}
{{- toYaml $settings.config -}}
{{- end -}}

{{- define "closeorder.grace" -}}
{{- $grace := .Values.config.shutdown_grace | default "25s" -}}
{{- $seconds := include "closeorder.seconds" (toString $grace) | int -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- add $seconds 20 -}}
{{- else if lt (int $given) (add $seconds 11 | int) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, and config.shutdown_grace %s: what is finished then is published and committed, and the group is left, which may take 11 s; set terminationGracePeriodSeconds to %d or more, or leave it out" (int $given) $grace (add $seconds 11)) -}}
{{- else -}}
{{- int $given -}}
{{- end -}}
{{- end -}}

{{/* What must be right for a pod to be of use; said before anything is installed. */}}
{{- define "closeorder.check" -}}
{{- $config := .Values.config -}}
{{- if not (dig "kafka" "brokers" "" $config) -}}
{{- fail "config.kafka.brokers is not set: name the bootstrap brokers, as in config.kafka.brokers: [\"kafka-0.kafka:9092\"]" -}}
{{- end -}}
{{- if not (or (dig "merchants_file" "" $config) (dig "mch_id" "" $config)) -}}
{{- fail "no merchant is configured: set config.merchants_file to {secretKeyRef: {name: ..., key: merchants.yaml}}, or config.mch_id and config.api_key for a single one" -}}
{{- end -}}
{{- $limit := dig "limits" "memory" "" (.Values.resources | default dict) -}}
{{- if $limit -}}
{{- $least := add 67108864 (mul 3 (include "closeorder.bytes" ($config.max_buffered | default "4MiB") | int64)) -}}
{{- if lt (include "closeorder.bytes" $limit | int64) $least -}}
{{- fail (printf "resources.limits.memory is %v, and config.max_buffered %v: a worker needs 64Mi and three times max_buffered; set resources.limits.memory to %dMi or more" $limit ($config.max_buffered | default "4MiB") (div (add $least 1048575) 1048576)) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.mode "StatefulSet") (ne .Values.autoscaling.kind "none") -}}
{{- fail "mode is StatefulSet, and autoscaling.kind is not none: the partitions of a static member that a scale-in takes away wait for kafka.session_timeout; set mode to Deployment" -}}
{{- end -}}
{{- if and (ne .Values.autoscaling.kind "none") (lt (int .Values.autoscaling.maxReplicas) (int .Values.autoscaling.minReplicas)) -}}
{{- fail "autoscaling.maxReplicas is less than autoscaling.minReplicas" -}}
{{- end -}}
{{- $instead := dict "CLOSEORDER_KAFKA_INSTANCE_ID" "two pods with one id fence each other; set mode to StatefulSet, where it is the pod's name" "CLOSEORDER_ADMIN_ADDR" "the probes would ask another port; set port" "CLOSEORDER_SHUTDOWN_GRACE" "terminationGracePeriodSeconds would not follow it; set config.shutdown_grace" "CLOSEORDER_MAX_BUFFERED" "the limit of memory would not be compared with it; set config.max_buffered" "CLOSEORDER_MAX_IN_FLIGHT" "the threshold of autoscaling would not follow it; set config.max_in_flight" -}}
{{- range $variable := .Values.extraEnv -}}
{{- $name := $variable.name | default "" | toString -}}
{{- with get $instead $name -}}
{{- fail (printf "extraEnv: %s would overrule the file of settings: %s" $name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "closeorder.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "closeorder.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Environment of worker and check: what comes from Secrets, and what the pod is. */}}
{{- define "closeorder.env" -}}
{{- $settings := include "closeorder.settings" . | fromJson -}}
{{- $env := $settings.env -}}
{{- if eq .Values.mode "StatefulSet" -}}
{{- $env = append $env (dict "name" "CLOSEORDER_KAFKA_INSTANCE_ID" "valueFrom" (dict "fieldRef" (dict "apiVersion" "v1" "fieldPath" "metadata.name"))) -}}
{{- end -}}
{{- $limit := dig "limits" "memory" "" (.Values.resources | default dict) -}}
{{- $percent := int .Values.memoryLimitPercent -}}
{{- if and $limit (gt $percent 0) -}}
{{- $env = append $env (dict "name" "GOMEMLIMIT" "value" (div (mul (include "closeorder.bytes" $limit | int64) $percent) 100 | toString)) -}}
{{- $env = append $env (dict "name" "GOGC" "value" "75") -}}
{{- end -}}
{{- concat $env .Values.extraEnv | toJson -}}
{{- end -}}

{{- define "closeorder.mounts" -}}
{{- $settings := include "closeorder.settings" . | fromJson -}}
{{- concat (list (dict "name" "config" "mountPath" "/etc/closeorder/config" "readOnly" true)) $settings.mounts .Values.extraVolumeMounts | toJson -}}
{{- end -}}

{{/* A container: dict with root, name and args. */}}
{{- define "closeorder.container" -}}
{{- $root := .root -}}
name: {{ .name }}
image: {{ include "closeorder.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args:
  {{- toYaml .args | nindent 2 }}
{{- with include "closeorder.env" $root | fromJsonArray }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "closeorder.containerSecurity" $root | nindent 2 }}
volumeMounts:
  {{- include "closeorder.mounts" $root | fromJsonArray | toYaml | nindent 2 }}
{{- end -}}

{{/* What a pod of worker and of hook have in common: dict with root and file, the ConfigMap's name. */}}
{{- define "closeorder.podCommon" -}}
{{- $root := .root -}}
{{- $settings := include "closeorder.settings" $root | fromJson -}}
automountServiceAccountToken: false
# Kubernetes would set variables for each Service of the namespace, and those of
# one that is called closeorder begin as ours do.
enableServiceLinks: false
securityContext:
  {{- include "closeorder.podSecurity" $root | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
volumes:
  - name: config
    configMap:
      name: {{ .file }}
      defaultMode: 288
  {{- range concat $settings.volumes $root.Values.extraVolumes }}
  - {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "closeorder.probe" -}}
httpGet:
  path: {{ .path }}
  port: admin
{{ toYaml .times }}
{{- end -}}

{{/* The pod of a worker, of a Deployment and a StatefulSet. */}}
{{- define "closeorder.pod" -}}
metadata:
  annotations:
    checksum/config: {{ include "closeorder.file" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- include "closeorder.labels" . | nindent 4 }}
    app.kubernetes.io/component: worker
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "closeorder.serviceAccountName" . }}
  terminationGracePeriodSeconds: {{ include "closeorder.grace" . }}
  {{- include "closeorder.podCommon" (dict "root" . "file" (include "closeorder.fullname" .)) | nindent 2 }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    - {{- toYaml . | nindent 6 }}
      {{- if not .labelSelector }}
      labelSelector:
        matchLabels:
          {{- include "closeorder.selector" $ | nindent 10 }}
      {{- end }}
    {{- end }}
  {{- end }}
  {{- if .Values.checkBeforeStart }}
  initContainers:
    - {{- include "closeorder.container" (dict "root" . "name" "check" "args" (list "run" "--check" "--config=/etc/closeorder/config/closeorder.yaml")) | nindent 6 }}
  {{- end }}
  containers:
    - {{- include "closeorder.container" (dict "root" . "name" "closeorder" "args" (list "run" "--config=/etc/closeorder/config/closeorder.yaml")) | nindent 6 }}
      ports:
        - name: admin
          containerPort: {{ .Values.port }}
          protocol: TCP
      startupProbe:
        {{- include "closeorder.probe" (dict "path" "/livez" "times" .Values.probes.startup) | nindent 8 }}
      livenessProbe:
        {{- include "closeorder.probe" (dict "path" "/livez" "times" .Values.probes.liveness) | nindent 8 }}
      readinessProbe:
        {{- include "closeorder.probe" (dict "path" "/readyz" "times" .Values.probes.readiness) | nindent 8 }}
{{- end -}}

{{/* Ports of a list of host:port, or of texts with commas; as JSON. */}}
{{- define "closeorder.brokerPorts" -}}
{{- $brokers := .Values.config.kafka.brokers -}}
{{- if kindIs "string" $brokers }}{{ $brokers = splitList "," $brokers }}{{ end -}}
{{- if kindIs "map" $brokers }}{{ fail "networkPolicy.kafka.ports is not set, and config.kafka.brokers is not known here: it comes from a Secret or ConfigMap" }}{{ end -}}
{{- $ports := list -}}
{{- range $brokers -}}
{{- $port := regexFind ":[0-9]+$" (trim .) | trimPrefix ":" -}}
{{- if not $port }}{{ fail (printf "config.kafka.brokers: %q has no port; write host:port" .) }}{{ end -}}
{{- $ports = append $ports (int $port) -}}
{{- end -}}
{{- uniq $ports | toJson -}}
{{- end -}}

{{- define "closeorder.gatewayPorts" -}}
{{- $urls := dig "gateway" "urls" (list) .Values.config -}}
{{- if kindIs "string" $urls }}{{ $urls = splitList "," $urls }}{{ end -}}
{{- if kindIs "map" $urls }}{{ fail "networkPolicy.gateway.ports is not set, and config.gateway.urls is not known here: it comes from a Secret or ConfigMap" }}{{ end -}}
{{- $ports := list -}}
{{- range $urls -}}
{{- $u := urlParse (trim .) -}}
{{- $port := regexFind ":[0-9]+$" $u.host | trimPrefix ":" -}}
{{- $ports = append $ports ($port | default (eq $u.scheme "http" | ternary "80" "443") | int) -}}
{{- end -}}
{{- uniq ($ports | default (list 443)) | toJson -}}
{{- end -}}

{{/* Backlog to scale on, for each worker. */}}
{{- define "closeorder.threshold" -}}
{{- if kindIs "invalid" .Values.autoscaling.threshold -}}
{{- mul 75 (.Values.config.max_in_flight | default 256 | int) -}}
{{- else -}}
{{- int .Values.autoscaling.threshold -}}
{{- end -}}
{{- end -}}
