-- Which node does not reach which.
SELECT format('%s:%s', from_nodename, from_nodeport) AS seen_from,
       format('%s:%s', to_nodename, to_nodeport) AS node
FROM citus_check_cluster_node_health()
WHERE result IS NOT TRUE
ORDER BY 1, 2
