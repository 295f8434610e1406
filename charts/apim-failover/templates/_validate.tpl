{{/* What values.schema.json cannot say, with the way out. */}}

{{- define "apim-failover.milliseconds" -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h|d)" . -1 -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $sum = addf $sum (mulf $number (get (dict "ms" 1.0 "s" 1000.0 "m" 60000.0 "h" 3600000.0 "d" 86400000.0) (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- int64 $sum -}}
{{- end -}}

{{- define "apim-failover.validateTimes" -}}
{{- $l := .Values.leaderElection -}}
{{- $duration := include "apim-failover.milliseconds" $l.leaseDuration | int64 -}}
{{- $deadline := include "apim-failover.milliseconds" $l.renewDeadline | int64 -}}
{{- $retry := include "apim-failover.milliseconds" $l.retryPeriod | int64 -}}
{{- $timeout := max (div $deadline 2) 1000 -}}
{{- if $l.requestTimeout }}{{ $timeout = include "apim-failover.milliseconds" $l.requestTimeout | int64 }}{{ end -}}
{{- if ne (mod $duration 1000) 0 -}}
{{- fail (printf "leaderElection.leaseDuration: found %s; allowed: whole seconds" $l.leaseDuration) -}}
{{- end -}}
{{- if le (mul $deadline 10) (mul $retry 12) -}}
{{- fail (printf "leaderElection.renewDeadline: found %s with retryPeriod %s; allowed: more than 1.2 times retryPeriod" $l.renewDeadline $l.retryPeriod) -}}
{{- end -}}
{{- if lt (sub $duration $deadline) (max 2000 (div $duration 5)) -}}
{{- fail (printf "leaderElection.renewDeadline: found %s with leaseDuration %s; allowed: less than leaseDuration by at least 2s and a fifth of it" $l.renewDeadline $l.leaseDuration) -}}
{{- end -}}
{{- if lt (sub (sub $deadline $retry) $timeout) 1000 -}}
{{- fail (printf "leaderElection.requestTimeout: renewDeadline %s less retryPeriod %s less requestTimeout %dms is less than the 1s that a leader needs to go on after one slow renewal; shorten requestTimeout" $l.renewDeadline $l.retryPeriod $timeout) -}}
{{- end -}}
{{- end -}}

{{- define "apim-failover.validateConfig" -}}
{{- $config := .Values.config -}}
{{- if and $config.existingConfigMap $config.existingSecret -}}
{{- fail "config.existingConfigMap and config.existingSecret: found both; set one of them" -}}
{{- end -}}
{{- if include "apim-failover.configIsOurs" . -}}
{{- if not .Values.emulator.enabled -}}
{{- if not $config.data.failoverGroups -}}
{{- fail "config.data.failoverGroups: found none; describe at least one group, name config.existingConfigMap or config.existingSecret, or set emulator.enabled=true to try the chart without Azure" -}}
{{- end -}}
{{- if not $config.data.controllerRegion -}}
{{- fail "config.data.controllerRegion: found nothing; set the Azure region in which this controller runs, for example swedencentral" -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- if .Values.emulator.enabled -}}
{{- fail "emulator.enabled: the emulated Azure needs the chart's own configuration; clear config.existingConfigMap and config.existingSecret" -}}
{{- end -}}
{{- if .Values.rbac.restrictConfigMaps -}}
{{- fail "rbac.restrictConfigMaps: the names of the groups are known only from config.data; set it to false with an existing configuration" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "apim-failover.validateIdentity" -}}
{{- $azure := .Values.azure -}}
{{- if not .Values.emulator.enabled -}}
{{- if eq $azure.auth "clientSecret" -}}
{{- if not (and $azure.tenantId $azure.clientId $azure.clientSecret.existingSecret) -}}
{{- fail "azure.auth: clientSecret needs azure.tenantId, azure.clientId and azure.clientSecret.existingSecret" -}}
{{- end -}}
{{- else if eq $azure.auth "workloadIdentity" -}}
{{- if $azure.workloadIdentity.projectToken -}}
{{- if not (and $azure.tenantId $azure.clientId) -}}
{{- fail "azure.workloadIdentity.projectToken: needs azure.tenantId and azure.clientId, since no webhook sets them" -}}
{{- end -}}
{{- else if and .Values.serviceAccount.create (not $azure.clientId) (not (hasKey .Values.serviceAccount.annotations "azure.workload.identity/client-id")) -}}
{{- fail "azure.clientId: found nothing; workloadIdentity needs the client id of the identity that trusts this ServiceAccount (or set azure.auth to managedIdentity or clientSecret)" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.tls.mode "existingSecret" -}}
{{- if not .Values.tls.existingSecret -}}
{{- fail "tls.existingSecret: found nothing; name a Secret with tls.crt, tls.key and ca.crt, or set tls.mode to certManager" -}}
{{- end -}}
{{- if .Values.emulator.enabled -}}
{{- range $region := values (include "apim-failover.emulatorWorld" . | fromJson).probeRegions | sortAlpha -}}
{{- if not (index $.Values.emulator.agentSecrets $region) -}}
{{- fail (printf "emulator.agentSecrets.%s: found nothing; name the Secret with the certificate of that region's agent, or set tls.mode to certManager" $region) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "apim-failover.validateServices" -}}
{{- $agents := .Values.services.agents -}}
{{- if and (ne $agents.type "LoadBalancer") (or $agents.loadBalancerClass $agents.loadBalancerSourceRanges) -}}
{{- fail (printf "services.agents.loadBalancerClass and loadBalancerSourceRanges: found with type %s; allowed: with type LoadBalancer only" $agents.type) -}}
{{- end -}}
{{- if and (eq $agents.type "ClusterIP") (or $agents.nodePort $agents.externalTrafficPolicy) -}}
{{- fail "services.agents.nodePort and externalTrafficPolicy: found with type ClusterIP; allowed: with types NodePort and LoadBalancer" -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (not (toString .Values.podDisruptionBudget.minAvailable)) (not (toString .Values.podDisruptionBudget.maxUnavailable)) -}}
{{- fail "podDisruptionBudget: found neither maxUnavailable nor minAvailable; set one" -}}
{{- end -}}
{{- end -}}

{{- define "apim-failover.validate" -}}
{{- include "apim-failover.validateConfig" . -}}
{{- include "apim-failover.validateIdentity" . -}}
{{- include "apim-failover.validateTimes" . -}}
{{- include "apim-failover.validateServices" . -}}
{{- end -}}
