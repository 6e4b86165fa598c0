{{/*
Names and labels. One release of the chart is one namespace, so that a service is reached under its
own name and needs no release in front of it.
Every template that is called here takes a dict with the root as `root` and, for services, the
service's `name` and its values as `service`.
*/}}

{{- define "plimsoll.dns" -}}
{{- . | replace "_" "-" -}}
{{- end }}

{{- define "plimsoll.namespace" -}}
{{- .Values.namespace.name | default .Release.Namespace -}}
{{- end }}

{{- define "plimsoll.tag" -}}
{{- .Values.image.tag | default .Chart.AppVersion -}}
{{- end }}

{{/* What never changes during the life of a service: selectors are made of it. */}}
{{- define "plimsoll.selector" -}}
app.kubernetes.io/name: {{ include "plimsoll.dns" .name }}
app.kubernetes.io/part-of: {{ .root.Chart.Name }}
{{- end }}

{{- define "plimsoll.labels" -}}
{{ include "plimsoll.selector" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ include "plimsoll.tag" .root | quote }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.environment }}
plimsoll.dev/environment: {{ . | quote }}
{{- end }}
{{- end }}

{{/* The order in which Argo CD applies things; Helm knows one of its own and needs no annotation. */}}
{{- define "plimsoll.wave" -}}
{{- if .root.Values.argocd.enabled -}}
argocd.argoproj.io/sync-wave: {{ .wave | quote }}
{{- end -}}
{{- end }}

{{/* Infrastructure first, then migrations, workers, web, sites. */}}
{{- define "plimsoll.waveOf" -}}
{{- if eq . "static" }}3{{ else if eq . "web" }}2{{ else }}1{{ end }}
{{- end }}

{{- define "plimsoll.image" -}}
{{- $image := .service.image | default dict -}}
{{- $name := $image.name | default .name -}}
{{- $repository := $image.repository | default (printf "%s/%s" .root.Values.image.repository $name) -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default (include "plimsoll.tag" .root) }}
{{- end -}}
{{- end }}

{{/* Whether a service runs as a Deployment (or Rollout) and not to an end. */}}
{{- define "plimsoll.isLasting" -}}
{{- if has .kind (list "web" "static" "worker") }}true{{ end }}
{{- end }}

{{/* Whether something else decides how many instances there are. */}}
{{- define "plimsoll.isScaled" -}}
{{- if gt (int .scale.max) (int .scale.min) }}true{{ end }}
{{- end }}

{{/* Blue/green and canary need two releases side by side. */}}
{{- define "plimsoll.isRollout" -}}
{{- if and .root.Values.rollouts.enabled (ne .service.strategy "Recreate") }}true{{ end }}
{{- end }}

{{/* What is scaled. */}}
{{- define "plimsoll.scaleTarget" -}}
{{- if include "plimsoll.isRollout" . -}}
apiVersion: argoproj.io/v1alpha1
kind: Rollout
{{- else -}}
apiVersion: apps/v1
kind: Deployment
{{- end }}
name: {{ include "plimsoll.dns" .name }}
{{- end }}

{{/* The labels by which pods of a resource in the cluster are found. */}}
{{- define "plimsoll.resourceLabels" -}}
{{- $name := include "plimsoll.dns" .name -}}
{{- if eq .resource.via "cloudnative-pg" -}}
cnpg.io/cluster: {{ $name }}
{{- else if eq .resource.via "strimzi" -}}
strimzi.io/cluster: {{ $name }}
{{- else -}}
app.kubernetes.io/name: {{ $name }}
app.kubernetes.io/part-of: {{ .root.Chart.Name }}
{{- end }}
{{- end }}
