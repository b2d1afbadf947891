"""What runs inside a job: the only home of torch. Imports only domain and rundir of this package."""
