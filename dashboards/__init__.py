"""Grafana's dashboards of Rowtide, made of code: ``python -m dashboards`` writes k8s/dashboards/."""
