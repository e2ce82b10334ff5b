"""Where is an endpoint on AWS, and how is a request to it signed?

Region, credentials, profiles and addresses are found by botocore, as boto3 and the AWS command line do.

>>> origin, signer = service("lambda")  # doctest: +SKIP
>>> signer.headers("POST", origin + "/2015-03-31/functions/height/invocations", b'{"Weight": 200}')  # doctest: +SKIP
{'X-Amz-Date': '...', 'Authorization': 'AWS4-HMAC-SHA256 Credential=...'}
"""

import contextlib

from toolkit.auth import AuthError

NEEDED = "What is on AWS is asked with botocore: pip install -r requirements/aws.txt"
NO_REGION = "AWS needs a region. Set AWS_DEFAULT_REGION, or AWS_PROFILE to a profile that has one."


def service(name, region=None):
    """Find a service of AWS.

    Parameters
    ----------
    name : str
        As botocore has it: ``lambda``, ``sagemaker-runtime``.
    region : str, optional
        By default what botocore finds.

    Returns
    -------
    origin : str
        Such as ``https://lambda.eu-west-1.amazonaws.com``.
    signer : Signer

    Raises
    ------
    AuthError
        Region or credentials are not found, or botocore is not installed.
    """
    with _told():
        session = _session()
        client = session.create_client(name, region_name=region)
        return client.meta.endpoint_url, Signer(client.meta.service_model.signing_name, session, region)


def _session():
    try:
        import botocore.session
    except ImportError as error:
        raise AuthError(NEEDED) from error
    return botocore.session.get_session()


@contextlib.contextmanager
def _told():
    """Tell what botocore refuses as a failure of ours."""
    try:
        import botocore.exceptions
    except ImportError as error:
        raise AuthError(NEEDED) from error
    try:
        yield
    except botocore.exceptions.NoRegionError as error:
        raise AuthError(NO_REGION) from error
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, ValueError) as error:
        raise AuthError(f"AWS cannot be asked: {' '.join(str(error).split()).rstrip('.')}.") from error


class Signer:
    """Signs requests with Signature Version 4.

    Parameters
    ----------
    name : str
        What the service signs as: ``lambda``, ``sagemaker``, ``execute-api``.
    session : botocore.session.Session, optional
    region : str, optional
        By default what botocore finds.

    Raises
    ------
    AuthError
        There are no credentials, or no region.
    """

    def __init__(self, name, session=None, region=None):
        with _told():
            session = session or _session()
            self._name, self._region = name, region or session.get_config_variable("region")
            self._credentials = session.get_credentials()
        if not self._region:
            raise AuthError(NO_REGION)
        if self._credentials is None:
            raise AuthError(
                "AWS needs credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or log in "
                "with the AWS command line."
            )

    def headers(self, method, url, body):
        """Sign a request.

        Parameters
        ----------
        method, url : str
            To the letter as they are sent.
        body : bytes

        Returns
        -------
        dict of str to str
        """
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        with _told():
            credentials = self._credentials.get_frozen_credentials()  # fresh ones, where they expire
            request = AWSRequest(method, url, data=body)
            SigV4Auth(credentials, self._name, self._region).add_auth(request)
        return dict(request.headers.items())
