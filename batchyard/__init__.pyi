from batchyard.client import Job as Job
from batchyard.client import job as job
from batchyard.client import submit as submit
